"""JSON Schema keyword by keyword: what one schema takes beyond another, each where it stands.

Says nothing of fields and items, which are schemas themselves.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct

Schema = Mapping[str, Any]

SAYS_NOTHING: Final = frozenset(
    {
        *("title", "description", "default", "examples", "$comment", "deprecated", "readOnly", "writeOnly"),
        *("contentEncoding", "contentMediaType", "contentSchema", "$schema", "$id", "$defs", "definitions"),
    }
)
"""Keywords that refuse no value."""

_TYPES: Final = frozenset({"null", "boolean", "integer", "number", "string", "array", "object"})
_MEASURES: Final[Mapping[str, str]] = {"string": "Length", "array": "Items", "object": "Properties"}
_COMPARED: Final = frozenset(
    {
        *("type", "enum", "const", "anyOf", "allOf", "required", "properties", "additionalProperties", "items"),
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "uniqueItems"),
        *(f"{bound}{measure}" for bound in ("min", "max") for measure in _MEASURES.values()),
    }
)
"""Compared by what they mean. All others must be gone from the new schema or be as they were."""

_NEVER_COMPARED: Final = frozenset({"$ref", "$dynamicRef", "unevaluatedProperties", "unevaluatedItems"})
"""What they mean depends on what stands elsewhere, so that they may take less although they are as they were."""

_BOTH_ALIKE: Final = ("prefixItems", "minContains")
"""To take them away may take less as well."""

_DECLARING: Final = frozenset(
    {"allOf", "anyOf", "oneOf", "not", "if", "then", "else", "$ref", "$dynamicRef", "dependentSchemas", "dependencies"}
)

_ONLY_OF: Final[Mapping[str, str]] = {"pattern": "string", "format": "string", "uniqueItems": "array"}
"""What these say only of one type: nothing where it could not be sent."""


class Narrowing(Struct, frozen=True):
    """One thing that was taken and would not be any longer. `path` is the field, empty for the data as a whole."""

    path: str
    problem: str


def types_lost(old: Schema, new: Schema, path: str) -> list[Narrowing]:
    lost = sorted(_types_of(old) - _types_of(new))
    return [Narrowing(path, f"{', '.join(lost)} is not taken any longer")] if lost else []


def _types_of(schema: Schema) -> frozenset[str]:
    said = schema.get("type", _TYPES)
    types = frozenset({said} if isinstance(said, str) else said)
    if "number" in types:
        types |= {"integer"}
    values = _values_of(schema)
    return types if values is None else types & {_type_of(value) for value in values}


def may_be(schema: Schema, kind: str) -> bool:
    return kind in _types_of(schema)


def _values_of(schema: Schema) -> Sequence[Any] | None:
    if "const" in schema:
        return [schema["const"]]
    found: Sequence[Any] | None = schema.get("enum")
    return found


def values_lost(old: Schema, new: Schema, path: str) -> list[Narrowing]:
    """Only what is listed may be sent: then nothing else may have been."""
    after = _values_of(new)
    if after is None:
        return []
    before = _values_of(old)
    if before is None:
        return [Narrowing(path, f"only {_listed(after)} is taken now, and anything was")]
    lost = [value for value in before if text_of(value) not in {text_of(kept) for kept in after}]
    return [Narrowing(path, f"{_listed(lost)} is not taken any longer")] if lost else []


def tighter_bounds(old: Schema, new: Schema, path: str) -> list[Narrowing]:
    """Lengths, counts and numbers that must lie within less than before."""
    found = []
    for kind, measure in _MEASURES.items():
        if not may_be(old, kind):
            continue
        least, most = f"min{measure}", f"max{measure}"
        if new.get(least, 0) > old.get(least, 0):
            found.append(Narrowing(path, f"{least} is {new[least]}, and was {old.get(least, 0)}"))
        if most in new and (most not in old or new[most] < old[most]):
            found.append(Narrowing(path, f"{most} is {new[most]}, and was {old.get(most, 'without limit')}"))
    if may_be(old, "integer") or may_be(old, "number"):
        if _lowest(new) > _lowest(old):
            found.append(Narrowing(path, "the lower bound is higher than it was"))
        if _highest(new) < _highest(old):
            found.append(Narrowing(path, "the upper bound is lower than it was"))
    return found


def _lowest(schema: Schema) -> tuple[float, bool]:
    """The lower bound, and whether it is itself left out: the greater pair takes less."""
    bounds = [(schema[key], key != "minimum") for key in ("minimum", "exclusiveMinimum") if key in schema]
    return max(bounds, default=(float("-inf"), False))


def _highest(schema: Schema) -> tuple[float, bool]:
    bounds = [(schema[key], key == "maximum") for key in ("maximum", "exclusiveMaximum") if key in schema]
    return min(bounds, default=(float("inf"), True))


def unlike(old: Schema, new: Schema, path: str) -> list[Narrowing]:
    """Keywords that are compared only as a whole."""
    keys = {key for key in new.keys() - _COMPARED - SAYS_NOTHING if new[key] != old.get(key) or refers(new[key])}
    keys |= _NEVER_COMPARED & new.keys()
    keys |= {key for key in _BOTH_ALIKE if new.get(key) != old.get(key)}
    if new.get("uniqueItems") and not old.get("uniqueItems"):
        keys.add("uniqueItems")
    if "multipleOf" in new and not _is_multiple(old.get("multipleOf"), new["multipleOf"]):
        keys.add("multipleOf")
    keys = {key for key in keys if may_be(old, _ONLY_OF.get(key, "")) or key not in _ONLY_OF}
    return [Narrowing(path, f"{key} is not as it was, and may take less") for key in sorted(keys)]


def _is_multiple(value: Any, step: Any) -> bool:
    whole = isinstance(value, int) and isinstance(step, int) and value % step == 0
    return bool(value == step or whole)


def ways(schema: Schema) -> list[Schema]:
    """A schema that takes one of several things, taken apart; a type of many counts as such. Each way takes at least
    what it took there."""
    if "anyOf" in schema:
        beside = {key: value for key, value in schema.items() if key != "anyOf"}
        return [_joined(beside, branch) for branch in schema["anyOf"] if branch is not False]
    if isinstance(schema.get("type"), list):
        return [{**schema, "type": kind} for kind in schema["type"]]
    return [schema]


def _joined(beside: Schema, branch: Any) -> Schema:
    """Both together. What both say is kept of the branch alone, which takes more and not less; that there was another
    is still to be seen."""
    if branch is True:
        return beside
    return {**beside, **branch, "allOf": [beside]} if beside.keys() & branch.keys() else {**beside, **branch}


def declares_elsewhere(schema: Schema) -> bool:
    """Whether fields may be declared by other means than `properties`."""
    return not _DECLARING.isdisjoint(schema)


def refers(schema: Any) -> bool:
    """Whether what it means depends on the rest of its document."""
    return '"$ref"' in text_of(schema) or '"$dynamicRef"' in text_of(schema)


def at(root: Any, reference: str) -> Any:
    """What a reference within the document points at; None where it leads elsewhere."""
    if not reference.startswith("#"):
        return None
    found = root
    for step in reference.removeprefix("#").split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        if not isinstance(found, dict) or name not in found:
            return None
        found = found[name]
    return found


def _type_of(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return "integer"
    kinds = {float: "number", str: "string", list: "array", dict: "object"}
    return kinds[type(value)]


def _listed(values: Sequence[Any]) -> str:
    return ", ".join(text_of(value) for value in values[:5]) + (", ..." if len(values) > 5 else "")


def text_of(value: Any) -> str:
    return msgspec.json.encode(value, order="deterministic").decode()


def step_to(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
