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
from control_plane.settings import API_VERSION, SETTINGS

_SHAPES: Mapping[str, type[Struct]] = {
    "intent": IntentDefinition,
    "row": RowDefinition,
    "fleet": FleetDefinition,
    "rule": RuleDefinition,
    "llm": LlmDefinition,
    "reference": ReferenceDefinition,
}

_KIND_OF_DEFAULT: Mapping[type, str] = {bool: "boolean", int: "integer"}


def file_schemas(
    executors: Mapping[str, type[Struct]], triggers: Mapping[str, type[Struct]]
) -> Mapping[str, dict[str, Any]]:
    """One schema per kind of file: those above by their names, `settings`, and `executor/KIND` and `trigger/KIND` for
    each kind."""
    schemas: dict[str, dict[str, Any]] = {name: msgspec.json.schema(shape) for name, shape in _SHAPES.items()}
    schemas["settings"] = _settings_schema()
    for head, shapes in (("executor", executors), ("trigger", triggers)):
        for kind, shape in shapes.items():
            schemas[f"{head}/{kind}"] = _with_head(msgspec.json.schema(shape), head, kind)
    return schemas


def _settings_schema() -> dict[str, Any]:
    """What `setpoint.yaml` may hold: each setting under its name, nested where the name has a dot."""
    top: dict[str, Any] = {"apiVersion": {"const": API_VERSION}}
    for setting in SETTINGS:
        kind = _KIND_OF_DEFAULT.get(type(setting.default), "string")
        section, _, name = setting.name.rpartition(".")
        place = top if not section else top.setdefault(section, _closed({}))["properties"]
        place[name] = {"type": kind, "description": setting.help}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_closed(top)}


def _closed(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "additionalProperties": False}


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
