"""Whatever a schema took that is judged compatible, the new one takes as well."""

from typing import Any

from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

from control_plane.adapters.jsonschema import JsonSchemas
from control_plane.ports.schemas import SchemaViolation
from control_plane.workspace.schema_evolution import narrowings

FIELDS = ("a", "b", "c")
SCALARS: list[Any] = [None, True, False, 0, 1, 2, -1, 1.5, "", "x", "xyz"]
values = st.recursive(
    st.sampled_from(SCALARS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=3),
    max_leaves=6,
)
types = st.sampled_from(["null", "boolean", "integer", "number", "string", "array"])
"""Objects say which fields they have: what nobody had declared may be declared, so an open one promises nothing."""


@st.composite
def scalars(draw: st.DrawFn) -> dict[str, Any]:
    """A schema of one value."""
    optional: dict[str, Any] = {
        "enum": st.lists(st.sampled_from(SCALARS), min_size=1, max_size=4),
        "const": st.sampled_from(SCALARS),
        "minimum": st.integers(-1, 2),
        "exclusiveMaximum": st.integers(0, 3),
        "multipleOf": st.integers(1, 4),
        "minLength": st.integers(0, 2),
        "maxLength": st.integers(0, 3),
        "pattern": st.sampled_from(["^x", "z$"]),
    }
    names = draw(st.lists(st.sampled_from(sorted(optional)), max_size=3, unique=True))
    type_ = draw(types | st.lists(types, min_size=1, max_size=3, unique=True))
    return {"type": type_, **{name: draw(optional[name]) for name in names}}


def nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Schemas of objects and lists. Objects say what becomes of fields that they do not name."""
    fields = st.dictionaries(st.sampled_from(FIELDS), inner, max_size=3)
    required = st.lists(st.sampled_from(FIELDS), max_size=2, unique=True)
    objects = st.fixed_dictionaries(
        {"properties": fields, "required": required, "additionalProperties": st.just(False) | inner},
        optional={"type": st.just("object"), "minProperties": st.integers(0, 2), "maxProperties": st.integers(0, 3)},
    )
    lists = st.fixed_dictionaries(
        {"items": inner},
        optional={
            "type": st.just("array"),
            "maxItems": st.integers(0, 3),
            "minItems": st.integers(0, 2),
            "uniqueItems": st.booleans(),
            "contains": inner,
            "minContains": st.integers(0, 2),
        },
    )
    joined = st.fixed_dictionaries({"anyOf": st.lists(inner, min_size=1, max_size=3)})
    held = st.fixed_dictionaries({"allOf": st.lists(inner, min_size=1, max_size=2)})
    return objects | lists | joined | held | st.fixed_dictionaries({"not": inner})


schemas = st.recursive(scalars(), nested, max_leaves=6)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Any, Any]:
    """A schema, and what somebody made of it: most changes are small."""
    old = draw(schemas)
    return old, _edited(draw, old) if draw(st.integers(0, 3)) else draw(schemas)


def _edited(draw: st.DrawFn, schema: Any) -> Any:
    if not isinstance(schema, dict) or not schema:
        return draw(schemas)
    key = draw(st.sampled_from(sorted(schema)))
    how = draw(st.integers(0, 4))
    if how == 0:
        return {name: found for name, found in schema.items() if name != key}
    if how == 1:
        return {**schema, **draw(scalars())}
    if how == 2:
        return {"anyOf": [schema, draw(schemas)]}
    if key in ("properties",) and schema[key]:
        field = draw(st.sampled_from(sorted(schema[key])))
        return {**schema, key: {**schema[key], field: _edited(draw, schema[key][field])}}
    if key in ("items", "additionalProperties", "contains", "not"):
        return {**schema, key: _edited(draw, schema[key])}
    return {**schema, key: draw(st.just(schema[key]))}


def takes(schema: Any, value: Any) -> bool:
    try:
        JsonSchemas().compile(schema).check(value)
    except SchemaViolation:
        return False
    return True


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(pair=pairs(), sent=st.lists(values, min_size=1, max_size=12))
def test_what_is_judged_compatible_takes_everything_that_was_taken(pair: tuple[Any, Any], sent: list[Any]) -> None:
    old, new = ({"properties": {"a": schema}, "additionalProperties": False} for schema in pair)
    assume(old != new)
    if narrowings(old, new):
        event("narrower")
        return
    taken = [value for value in sent if takes(old, {"a": value})]
    event("compatible, and something was taken" if taken else "compatible")

    assert [value for value in taken if not takes(new, {"a": value})] == []
