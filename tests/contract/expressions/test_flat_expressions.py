"""Rewriting to flat variables changes what an expression costs, and nothing else: the library itself is the oracle."""

from typing import Any

import cel
from hypothesis import example, given, settings
from hypothesis import strategies as st

from control_plane.adapters.cel import CelExpressions
from control_plane.ports.expressions import ExpressionInvalid, ExpressionMiss

FIELDS = ("a", "b", "a_b", "map", "size", "absent")
MISS = "miss"

scalars = st.one_of(st.booleans(), st.integers(-3, 3), st.sampled_from([0.5, 2.0]), st.sampled_from(["", "a", "x.y"]))
values = st.recursive(
    scalars | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS[:5]), inner, max_size=3),
    max_leaves=8,
)
variables = st.fixed_dictionaries(
    {
        "data": values | st.lists(scalars, max_size=4),
        "rows": st.dictionaries(st.sampled_from(FIELDS[:5]), values, max_size=3),
    }
)


def step(field: str, how: str) -> str:
    return {"dot": f".{field}", "spaced": f" . {field} ", "quoted": f'["{field}"]', "index": "[0]"}[how]


paths = st.builds(
    lambda root, steps: root + "".join(step(field, how) for field, how in steps),
    st.sampled_from(["data", "rows", "nowhere"]),
    st.lists(
        st.tuples(st.sampled_from(FIELDS), st.sampled_from(["dot", "dot", "spaced", "quoted", "index"])), max_size=3
    ),
)
names = st.sampled_from(["x", "data"])
literals = st.sampled_from(["1", "0.5", "true", "null", '"a"', "'data.a'", "[1, 2]", '{"a": 1}', "data", "rows", "x"])
expressions = st.recursive(
    paths | literals,
    lambda inner: st.one_of(
        st.builds("{} {} {}".format, inner, st.sampled_from(["&&", "||", "==", "<", "+", "in", "!="]), inner),
        st.builds("({} ? {} : {})".format, inner, inner, inner),
        st.builds("(!{})".format, inner),
        st.builds("has({}.{})".format, paths, st.sampled_from(FIELDS)),
        st.builds("size({})".format, inner),
        st.builds("[{}, {}]".format, inner, inner),
        st.builds("{}[{}]".format, paths, inner),
        st.builds("({}).{}".format, inner, st.sampled_from(FIELDS)),
        st.builds(
            "{}.{}({}, {} == {})".format, st.just("data"), st.sampled_from(["all", "exists"]), names, names, inner
        ),
        st.builds("{}.{}({}, {})".format, paths, st.sampled_from(["all", "exists", "filter", "map"]), names, inner),
    ),
    max_leaves=6,
)


def by_the_library(text: str, scope: dict[str, Any]) -> Any:
    try:
        return cel.compile(text).execute(scope)
    except (LookupError, TypeError, ArithmeticError, ValueError, RuntimeError):
        return MISS


@settings(deadline=None, max_examples=400)
@given(text=expressions, scope=variables)
@example(text="data.exists(x, x.a == 1) || data.a", scope={"data": {"a": True}, "rows": {}})
@example(text="has(data.a) == data.a", scope={"data": {"a": 5}, "rows": {}})
@example(text="data.exists(x, x == 2) ? data.all(data, data < 3) : x", scope={"data": [1, 2], "rows": {}})
@example(text="data.exists(x, x == 2) && x == 3", scope={"data": [1, 2], "rows": {}})
@example(text='has(data["a"].b) == has(data.a.b)', scope={"data": {"a": {"b": None}}, "rows": {}})
@example(text="data.a_b == data.a.b", scope={"data": {"a_b": 1, "a": {"b": 2}}, "rows": {}})
def test_an_expression_means_the_same_on_flat_variables(text: str, scope: dict[str, Any]) -> None:
    ours = CelExpressions()
    try:
        program = ours.compile(text)
    except ExpressionInvalid:
        return
    try:
        found = program.evaluate(ours.scope(scope))
    except ExpressionMiss:
        found = MISS

    expected = by_the_library(text, scope)

    assert repr(sorted_keys(found)) == repr(sorted_keys(expected)) or walks_a_map(text, scope)


def walks_a_map(text: str, scope: dict[str, Any]) -> bool:
    """The library walks maps in no order, in macros and where a map is added to a list; then its answer may differ from
    one time to the next. Ours walks keys in order, and adds no map."""
    walking = (".all(", ".exists(", ".filter(", ".map(", "+")
    return any(macro in text for macro in walking) and ("{" in repr(scope["data"]) or "rows" in text or "{" in text)


def sorted_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: sorted_keys(value[key]) for key in sorted(value)}
    return [sorted_keys(item) for item in value] if isinstance(value, list) else value
