"""The one form that a model's answer may have: `none`, or an intent that was granted with parameters of its own schema.

Strict as servers enforce it: every key is required, none may be added, and no text is without end.
"""

from collections.abc import Mapping
from typing import Any, Final

from control_plane.sdk import GrantedIntent

NONE: Final = "none"
"""What a model proposes when nothing is to be done."""

BECAUSE_CHARS_MAX: Final = 300
TEXT_CHARS_MAX: Final = 500
"""A text in parameters that declares no bound of its own."""

LIST_ITEMS_MAX: Final = 32
"""A list in parameters that declares no bound of its own."""

DEPTH_MAX: Final = 8

_BECAUSE: Final = {
    "type": "string",
    "maxLength": BECAUSE_CHARS_MAX,
    "description": "One sentence for the people on call.",
}
_DURATION_PATTERN: Final = r"^\d+(\.\d+)?(ms|s|m|h)$"
_NUMBER: Final = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
_KEPT: Final[Mapping[str, tuple[str, ...]]] = {
    "string": ("pattern", "format", "minLength", "maxLength"),
    "integer": _NUMBER,
    "number": _NUMBER,
    "boolean": (),
    "null": (),
    "array": ("items", "minItems", "maxItems"),
    "object": ("properties", "required", "additionalProperties"),
}
_OF_KINDS: Final = tuple(sorted({key for keys in _KEPT.values() for key in keys}))
_ANYWHERE: Final = ("type", "enum", "const", "anyOf", "description", "title", "default", "examples", "$schema")


class SchemaUnfit(Exception):
    """A schema that a model's answer cannot be held to. `path` is where, by keys."""

    def __init__(self, problem: str, path: tuple[str, ...]) -> None:
        super().__init__(f"{'.'.join(path) or 'the schema'}: {problem}")
        self.problem = problem
        self.path = path


def answer_schema(granted: Mapping[str, GrantedIntent]) -> dict[str, Any]:
    """The schema of an answer of whoever was granted these. Raises SchemaUnfit."""
    return _closed(
        {"decision": {"anyOf": [nothing(), *(form(name, intent) for name, intent in sorted(granted.items()))]}}
    )


def nothing() -> dict[str, Any]:
    """The form of proposing nothing."""
    return _closed({"intent": {"type": "string", "enum": [NONE]}, "because": _BECAUSE})


def form(name: str, intent: GrantedIntent) -> dict[str, Any]:
    """The form of proposing an intent. Raises SchemaUnfit."""
    parameters = strict(intent.parameters, (name, "parameters"))
    said = {"intent": {"type": "string", "enum": [name]}, "parameters": parameters}
    closed = _closed({**said, "confidence": {"type": "number", "minimum": 0, "maximum": 1}, "because": _BECAUSE})
    return {**closed, "description": intent.description[:TEXT_CHARS_MAX]} if intent.description else closed


def whole(decision: dict[str, Any]) -> dict[str, Any]:
    """The answer around one form of decision."""
    return _closed({"decision": decision})


def strict(schema: Mapping[str, Any], path: tuple[str, ...] = ()) -> dict[str, Any]:
    """A schema of a user's as a server can enforce it. Raises SchemaUnfit where it cannot."""
    if not isinstance(schema, Mapping) or len(path) > 2 * DEPTH_MAX:
        raise SchemaUnfit("it is no schema, or is nested too deeply", path)
    if "anyOf" in schema:
        _only(schema, ("anyOf",), path)
        return {"anyOf": [strict(each, (*path, "anyOf", str(n))) for n, each in enumerate(schema["anyOf"])]}
    if "enum" in schema or "const" in schema:
        return {"enum": list(schema["enum"]) if "enum" in schema else [schema["const"]]}
    kinds = schema.get("type")
    if isinstance(kinds, list):
        return {"anyOf": [strict({**schema, "type": kind}, path) for kind in kinds]}
    if not isinstance(kinds, str) or kinds not in _KEPT:
        raise SchemaUnfit("it says no type", path)
    return _of_kind(kinds, schema, path)


def without_absent(value: Any, schema: Mapping[str, Any]) -> Any:
    """Parameters as their own schema knows them: strict answers say null for what is not there."""
    if isinstance(value, dict) and isinstance(schema.get("properties"), Mapping):
        known, required = schema["properties"], schema.get("required", ())
        return {
            key: without_absent(inner, known.get(key, {}))
            for key, inner in value.items()
            if inner is not None or key in required or _takes_null(known.get(key, {}))
        }
    if isinstance(value, list) and isinstance(schema.get("items"), Mapping):
        return [without_absent(inner, schema["items"]) for inner in value]
    return value


def with_absent(value: Any, schema: Mapping[str, Any]) -> Any:
    """Parameters as a strict answer has them: not every server insists that what is not there is said to be null."""
    if isinstance(value, dict) and isinstance(schema.get("properties"), Mapping):
        known, required = schema["properties"], schema.get("required", ())
        there = {key: with_absent(inner, known.get(key, {})) for key, inner in value.items()}
        return {**{key: None for key in known if key not in required}, **there}
    if isinstance(value, list) and isinstance(schema.get("items"), Mapping):
        return [with_absent(inner, schema["items"]) for inner in value]
    return value


def _of_kind(kind: str, schema: Mapping[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    # Where there is a list of types each takes the keywords that are its own; the others say nothing of it.
    _only(schema, _OF_KINDS, path)
    found = {"type": kind, **{key: schema[key] for key in _KEPT[kind] if key in schema}}
    if kind == "string":
        if found.get("format") == "duration":
            # Ours is `5s`; the one that servers know is another.
            del found["format"]
            found["pattern"] = _DURATION_PATTERN
        found["maxLength"] = min(schema.get("maxLength", TEXT_CHARS_MAX), TEXT_CHARS_MAX)
    elif kind == "array":
        found["items"] = strict(schema.get("items", {}), (*path, "items"))
        found["maxItems"] = min(schema.get("maxItems", LIST_ITEMS_MAX), LIST_ITEMS_MAX)
    elif kind == "object":
        return _object(schema, path)
    return found


def _object(schema: Mapping[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    known = schema.get("properties", {})
    if not known and schema.get("additionalProperties") is not False:
        raise SchemaUnfit("it takes whatever keys there are", path)
    required = schema.get("required", ())
    unknown = sorted(set(required) - set(known))
    if unknown:
        raise SchemaUnfit(f"it requires {unknown[0]}, of which it says nothing", path)
    forms = {}
    for name, each in known.items():
        form = strict(each, (*path, "properties", name))
        forms[name] = form if name in required or _takes_null(each) else {"anyOf": [form, {"type": "null"}]}
    return _closed(forms)


def _takes_null(schema: Mapping[str, Any]) -> bool:
    kinds = schema.get("type")
    return kinds == "null" or (isinstance(kinds, list) and "null" in kinds)


def _closed(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


def _only(schema: Mapping[str, Any], keys: tuple[str, ...], path: tuple[str, ...]) -> None:
    unknown = sorted(set(schema) - set(keys) - set(_ANYWHERE))
    if unknown:
        raise SchemaUnfit(f"no answer can be held to {unknown[0]}", path)
