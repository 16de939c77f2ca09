"""Does a changed schema still take every event that the one in force takes? Where not: which field, and the cure.

Judges conservatively: what it cannot compare counts as narrower, so that nothing incompatible passes for compatible.
One thing is let pass on purpose: a field that nobody had declared may be declared, although somebody may have sent it
before. Pure.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from control_plane.catalogue import ControlItem
from control_plane.errors import Flaw
from control_plane.workspace.schema_keywords import (
    SAYS_NOTHING,
    Narrowing,
    Schema,
    at,
    declares_elsewhere,
    may_be,
    refers,
    step_to,
    text_of,
    tighter_bounds,
    types_lost,
    unlike,
    values_lost,
    ways,
)

NARROWINGS_MAX: Final = 20
"""Places that are named of one schema."""

REFERENCES_MAX: Final = 100
"""References that are followed from one to the next."""


def narrowings(old: Any, new: Any) -> Sequence[Narrowing]:
    """What the old schema takes and the new one does not, the first NARROWINGS_MAX of it."""
    return _Comparison(old, new).run()[:NARROWINGS_MAX]


def narrowed_schemas(before: Iterable[ControlItem], after: Iterable[ControlItem]) -> list[Flaw]:
    """What is wrong with the schemas among these items, if those before them are in force."""
    in_force = {item.name: item for item in before if item.kind == "schema"}
    flaws = []
    for item in after:
        known = in_force.get(item.name) if item.kind == "schema" else None
        if known is not None and known.body != item.body:
            found = narrowings(msgspec.json.decode(known.body), msgspec.json.decode(item.body))
            flaws += [_flaw(item.name, narrowing) for narrowing in found]
    return flaws


def _flaw(event_type: str, found: Narrowing) -> Flaw:
    return Flaw(
        file=f"schemas/{event_type}.json",
        line=0,
        column=0,
        problem=f"{found.path or 'data'}: {found.problem}. Events that the schema in force takes would be dead letters",
        cure=f"Take what was taken before, or give what is new a type of its own, as in {event_type}_v2.",
    )


class _Comparison:
    """Two whole schemas. References are followed within each; a pair that is being compared already is not begun
    again."""

    def __init__(self, old: Any, new: Any) -> None:
        self._old = old
        self._new = new
        self._begun: set[tuple[str, str]] = set()

    def run(self) -> list[Narrowing]:
        old = self._old
        if isinstance(old, dict) and not {"type", "$ref"} & old.keys():
            old = {**old, "type": "object"}  # Data is never anything else.
        return self._compare(old, self._new, "")

    def _compare(self, old: Any, new: Any, path: str) -> list[Narrowing]:
        if new is True or old is False or (old == new and not refers(new)):
            return []
        if new is False:
            return [Narrowing(path, "nothing is taken here any longer")]
        pair = (text_of(old), text_of(new))
        if pair in self._begun:
            return []
        self._begun.add(pair)
        try:
            return self._compare_objects(self._resolved(old, self._old), self._resolved(new, self._new), path)
        finally:
            self._begun.discard(pair)

    def _compare_objects(self, old: Schema, new: Schema, path: str) -> list[Narrowing]:
        if "anyOf" in old:
            return [narrowing for way in ways(old) for narrowing in self._compare(way, new, path)]
        if "anyOf" in new:
            return self._within_any(old, new, path)
        found = [
            *types_lost(old, new, path),
            *values_lost(old, new, path),
            *tighter_bounds(old, new, path),
            *unlike(old, new, path),
        ]
        for branch in new.get("allOf", ()) if new.get("allOf") != old.get("allOf") or refers(new) else ():
            found += self._compare(old, branch, path)
        return found + self._fields(old, new, path) + self._items(old, new, path)

    def _within_any(self, old: Schema, new: Schema, path: str) -> list[Narrowing]:
        """Each way of the old schema must lie within one of the new; what stands beside `anyOf` holds as well."""
        beside = {key: value for key, value in new.items() if key != "anyOf"}
        found = self._compare(old, beside, path) if beside else []
        for way in ways(old):
            if all(self._compare(way, branch, path) for branch in new["anyOf"]):
                return [*found, Narrowing(path, "what was taken fits none of anyOf")]
        return found

    def _fields(self, old: Schema, new: Schema, path: str) -> list[Narrowing]:
        if not may_be(old, "object"):
            return []
        found = [
            Narrowing(step_to(path, name), "it was optional and is required")
            for name in new.get("required", ())
            if name not in old.get("required", ())
        ]
        before, after = old.get("properties", {}), new.get("properties", {})
        others_before, others_after = old.get("additionalProperties", True), new.get("additionalProperties", True)
        patterns = old.get("patternProperties", {})
        for name, was in before.items():
            found += self._compare(was, after.get(name, others_after), step_to(path, name))
        # In an open schema, a field that nobody had declared may be.
        was_free = others_before in (True, {}) and not declares_elsewhere(old)
        undeclared = (*patterns.values(), *(() if was_free else (others_before,)))
        for name in sorted(after.keys() - before.keys()):
            for was in undeclared:
                found += self._compare(was, after[name], step_to(path, name))
        for was in () if "patternProperties" in new else patterns.values():
            found += self._compare(was, others_after, step_to(path, "*"))
        return found + self._compare(others_before, others_after, step_to(path, "*"))

    def _items(self, old: Schema, new: Schema, path: str) -> list[Narrowing]:
        if not may_be(old, "array"):
            return []
        return self._compare(old.get("items", True), new.get("items", True), f"{path}[]")

    def _resolved(self, schema: Any, root: Any) -> Schema:
        """A schema with what it refers to in the same document in its place; what cannot be followed stays."""
        followed = 0
        while isinstance(schema, dict) and isinstance(schema.get("$ref"), str) and followed < REFERENCES_MAX:
            found = at(root, schema["$ref"])
            beside = {key: value for key, value in schema.items() if key != "$ref" and key not in SAYS_NOTHING}
            if found is None or beside:
                return schema
            schema, followed = found, followed + 1
        return {} if schema is True else {"not": {}} if schema is False else schema
