"""Misspelt input: Rego takes a field that does not exist for undefined, and what is undefined guards nothing."""

from collections.abc import Iterator
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from typing import Any

import msgspec

from control_plane.adapters.regorus.syntax import Module, references, steps_of
from control_plane.errors import Flaw


@cache
def input_schema() -> dict[str, Any]:
    """The JSON Schema of what a policy reads as `input`."""
    schema: dict[str, Any] = msgspec.json.decode(files("policies").joinpath("input.schema.json").read_bytes())
    return schema


def check_input(module: Module) -> Iterator[Flaw]:
    """Every reference below `input` to a field that no input has."""
    if module.kind == "test":
        return
    read = [({"span": node["span"]}, path) for node, path, _ in references(module.tree["rules"])]
    read += [(node, steps_of(node["refr"])[0]) for node in module.tree["imports"]]
    for node, path in read:
        if path[0] in module.aliases:
            path = (*module.aliases[path[0]], *path[1:])
        if path[0] == "input":
            yield from _misspelt(module, node, path[1:])


def _misspelt(module: Module, node: dict[str, Any], path: tuple[str, ...]) -> Iterator[Flaw]:
    schema: Any = input_schema()
    for n, field in enumerate(path):
        known, others = schema.get("properties", {}), schema.get("additionalProperties")
        if field in known:
            schema = known[field]
        elif isinstance(others, dict):
            schema = others
        else:
            if others is False or schema.get("type") not in ("object", "array"):
                near = get_close_matches(field, known, n=1) or sorted(known)
                cure = f"Write {near[0]}." if len(near) == 1 else f"There is {', '.join(near) or 'nothing below it'}."
                yield module.flaw(node, f"there is no {'.'.join(('input', *path[: n + 1]))}", cure)
            return
