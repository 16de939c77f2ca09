"""What JSON from outside may hold, so that everything after the decoder can carry it: rows, expressions, policies."""

import re
from typing import Any

import msgspec

from control_plane.errors import InvalidMessage

EVENT_BYTES_MAX = 256 * 1024
"""Largest event that is read; a larger one is a dead letter."""

NESTING_MAX = 64
"""Lists and objects inside one another."""

_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_BRACKET = re.compile(rb"[\[\]{}]")
_packer = msgspec.msgpack.Encoder()


def check_nesting(raw: bytes) -> None:
    """Raises InvalidMessage when values are nested too deeply.

    Judges bytes, before they are decoded: a decoder gives up at a depth that depends on who calls it. Most messages
    hold too few brackets to be looked at twice.
    """
    if raw.count(b"{") + raw.count(b"[") <= NESTING_MAX:
        return
    depth = 0
    for bracket in _BRACKET.findall(_STRING.sub(b'""', raw)):
        depth += 1 if bracket in (b"{", b"[") else -1
        if depth > NESTING_MAX:
            raise InvalidMessage(
                "too_deep", f"values are nested more than {NESTING_MAX} deep", field="data", cure="Make data flatter."
            )


def check_integers(data: Any) -> None:
    """Raises InvalidMessage when an integer has more than 64 bits: a row could not hold it."""
    try:
        _packer.encode(data)
    except OverflowError as exc:
        raise InvalidMessage(
            "integer_too_large",
            "an integer in data does not fit into 64 bits",
            field="data",
            cure="Send it as text, or as a number with a decimal point.",
        ) from exc
