"""The JSON Schemas of a workspace's own files, for editors and for `setpoint schema KIND`."""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from control_plane.catalogue.definitions import (
    FleetDefinition,
    IntentDefinition,
    ReferenceDefinition,
    RowDefinition,
    RuleDefinition,
)
from control_plane.catalogue.llm import LlmDefinition

_SHAPES: Mapping[str, type[Struct]] = {
    "intent": IntentDefinition,
    "row": RowDefinition,
    "fleet": FleetDefinition,
    "rule": RuleDefinition,
    "llm": LlmDefinition,
    "reference": ReferenceDefinition,
}


def file_schemas(
    executors: Mapping[str, type[Struct]], triggers: Mapping[str, type[Struct]]
) -> Mapping[str, dict[str, Any]]:
    """One schema per kind of file: those above by their names, and `executor/KIND` and `trigger/KIND` for each kind."""
    schemas = {name: msgspec.json.schema(shape) for name, shape in _SHAPES.items()}
    for head, shapes in (("executor", executors), ("trigger", triggers)):
        for kind, shape in shapes.items():
            schemas[f"{head}/{kind}"] = _with_head(msgspec.json.schema(shape), head, kind)
    return schemas


def _with_head(schema: dict[str, Any], head: str, kind: str) -> dict[str, Any]:
    """The schema of a kind's own keys with the two that every declaration begins with."""
    name = schema["$ref"].rpartition("/")[2]
    body = schema["$defs"][name]
    begins_with = {head: {"type": "string", "pattern": "^[a-z][a-z0-9_]*$"}, "kind": {"const": kind}}
    changed = {
        **body,
        "properties": {**begins_with, **body["properties"]},
        "required": [head, *body.get("required", ())],
    }
    return {**schema, "$defs": {**schema["$defs"], name: changed}}
