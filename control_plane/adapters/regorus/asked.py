"""The input as an engine gets it: JSON, bounded, without what no policy of the set reads.

Reading an input costs an engine as much as ruling on it, and sending it costs more.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from control_plane.adapters.regorus.assembly import InputPath
from control_plane.adapters.regorus.weighing import NoRuling

INPUT_BYTES_MAX: Final = 512 * 1024
"""Of what the policies read of the input."""

INPUT_DEPTH_MAX: Final = 100
"""Lists and objects within one another. regorus reads no more than 128; OPA must not read what regorus refuses."""

_encode = msgspec.json.Encoder().encode

_TEXTS: Final = re.compile(rb'"(?:[^"\\]|\\.)*"')
_BRACKETS: Final = re.compile(rb"[\[\]{}]")

_All: Final = None
_Tree = dict[str, tuple[str, ...] | None]


class InputView:
    """What the policies of one set read of an input."""

    def __init__(self, reads: frozenset[InputPath]) -> None:
        self._tree = _tree_of(reads)

    def encoded(self, given: Mapping[str, Any]) -> bytes:
        """The input as JSON. Raises NoRuling when it is none, or too large."""
        try:
            encoded = _encode(given if self._tree is _All else _pruned(given, self._tree))
        except (TypeError, ValueError, OverflowError, RecursionError) as exc:
            raise NoRuling(f"the input is no JSON ({exc})") from exc
        if len(encoded) > INPUT_BYTES_MAX:
            raise NoRuling(f"the input has {len(encoded)} bytes, more than {INPUT_BYTES_MAX}")
        if encoded.count(b"{") + encoded.count(b"[") > INPUT_DEPTH_MAX and _depth(encoded) > INPUT_DEPTH_MAX:
            raise NoRuling(f"the input is nested more than {INPUT_DEPTH_MAX} deep")
        return encoded


def _depth(encoded: bytes) -> int:
    depth = deepest = 0
    for mark in _BRACKETS.finditer(_TEXTS.sub(b"", encoded)):
        depth += 1 if mark.group() in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _tree_of(reads: frozenset[InputPath]) -> _Tree | None:
    """The parts of the input by name, each with the parts of it that are read; None stands for all of it."""
    if () in reads:
        return _All
    whole = {path[0] for path in reads if len(path) == 1}
    return {
        top: _All if top in whole else tuple(sorted(path[1] for path in reads if path[0] == top))
        for top in sorted({path[0] for path in reads})
    }


def _pruned(given: Mapping[str, Any], reads: _Tree) -> dict[str, Any]:
    pruned = {}
    for top, below in reads.items():
        if top in given:
            part = given[top]
            if below is not _All and isinstance(part, Mapping):
                part = {name: part[name] for name in below if name in part}
            pruned[top] = part
    return pruned
