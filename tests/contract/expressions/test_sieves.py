"""Asked together, programs hold exactly where they hold one by one."""

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from control_plane.adapters.cel import CelExpressions
from control_plane.adapters.cel.sieve import _Leaf
from control_plane.ports.expressions import ExpressionInvalid, ExpressionMiss, Expressions
from tests.contract.expressions.test_flat_expressions import expressions as texts
from tests.contract.expressions.test_flat_expressions import variables


def one_by_one(language: Expressions, some: list[str], scope: dict[str, Any]) -> tuple[list[int], int]:
    """Which of the texts hold, and how many miss."""
    holding, missed = [], 0
    for position, text in enumerate(some):
        try:
            if language.compile(text).evaluate(language.scope(scope)) is True:
                holding.append(position)
        except ExpressionMiss:
            missed += 1
    return holding, missed


def is_expression(text: str) -> bool:
    try:
        CelExpressions().compile(text)
    except ExpressionInvalid:
        return False
    return True


@settings(deadline=None, max_examples=300)
@given(some=st.lists(texts.filter(is_expression), max_size=40), scope=variables)
@example(some=["data.a", "data.a || true", "data.absent || true"], scope={"data": {"a": 5}, "rows": {}})
@example(some=["data.a == 1 // why", "data.a == 2"], scope={"data": {"a": 2}, "rows": {}})
@example(some=["(data.absent && false) == false", "!(data.absent && false)"], scope={"data": {}, "rows": {}})
def test_a_sieve_lets_through_what_holds_alone(some: list[str], scope: dict[str, Any]) -> None:
    language = CelExpressions()

    sifted = language.sieve([language.compile(text) for text in some]).sift(language.scope(scope))

    holding, missed = one_by_one(language, some, scope)
    assert list(sifted.holding) == holding
    # `false && data.absent` is no miss by itself; in a sieve it is, because nothing of it is evaluated.
    assert missed <= sifted.missed <= len(some) - len(holding)


literals = st.sampled_from(
    [
        *("1", "-1", "0", "1.5", "-0.5", "1e3", "0x1", "1u", "9007199254740993", "9007199254740992", "true", "null"),
        *('"a"', "'a'", 'r"a"', '"\\u0061"', '""', "'''a'''", '"é"'),
    ]
)
comparisons = st.builds(
    lambda pair, mirrored, compares: f" {compares} ".join(reversed(pair) if mirrored else pair),
    st.tuples(st.sampled_from(["data.a", "data.b", 'data["a"]', "data.a.b", "(data.a)", "size(data.a)"]), literals),
    st.booleans(),
    st.sampled_from(["==", "!=", "<", "<=", ">", ">="]),
)
plain = st.lists(comparisons, min_size=1, max_size=3).map(" && ".join)
fields = st.one_of(
    st.integers(-2, 2),
    st.sampled_from([1.0, 1.5, -0.5, 1e3, float("inf"), float("nan"), 2**53, 2**53 + 1, -(2**53) - 1, 2**63 - 1]),
    st.sampled_from(["a", "", "é", "b", True, False, None, "\ud800"]),
    st.sampled_from([(), ("a",)]).map(list),
    st.sampled_from([{}, {"b": 1}]),
)


@settings(deadline=None, max_examples=500)
@given(some=st.lists(plain, max_size=30), data=st.dictionaries(st.sampled_from("ab"), fields))
def test_what_is_looked_up_holds_where_it_holds_when_it_is_evaluated(some: list[str], data: dict[str, Any]) -> None:
    language = CelExpressions()
    sound = [text for text in some if is_expression(text)]

    sifted = language.sieve([language.compile(text) for text in sound]).sift(language.scope({"data": data}))

    assert list(sifted.holding) == one_by_one(language, sound, {"data": data})[0]


def test_of_hundreds_on_one_variable_only_those_are_asked_that_may_hold(
    expressions: Expressions, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = [expressions.compile(f'data.site == "s{n}" && data.n > 1') for n in range(300)]
    sieve = expressions.sieve([*programs, *(expressions.compile(f"data.n > {n}.5") for n in range(300))])
    asked: list[str] = []
    monkeypatch.setattr(_Leaf, "sift", lambda leaf, context, holding: asked.append(leaf.text) or 0)

    sifted = sieve.sift(expressions.scope({"data": {"site": "s7", "n": 2}}))

    assert asked == ['__v_data_0site == "s7" && __v_data_0n > 1']
    assert list(sifted.holding) == [300, 301]


@pytest.mark.parametrize("many", [1, 16, 17, 128, 129, 1_000])
def test_of_many_those_are_found_that_hold_wherever_they_stand(expressions: Expressions, many: int) -> None:
    programs = [expressions.compile(f"data.n >= {number}") for number in range(many)]
    sieve = expressions.sieve(programs)

    for n in (-1, 0, many // 2, many):
        holding = list(range(min(n + 1, many)))
        assert list(sieve.sift(expressions.scope({"data": {"n": n}})).holding) == holding


def test_one_of_a_wrong_type_keeps_no_other_from_holding(expressions: Expressions) -> None:
    programs = [expressions.compile(text) for text in ("data.n > 'x'", "data.n > 1", "data.n + 1", "data.n > 0")]

    assert expressions.sieve(programs).sift(expressions.scope({"data": {"n": 2}})) == ([1, 3], 1)


def test_what_reads_a_missing_field_misses_and_the_others_are_asked(expressions: Expressions) -> None:
    programs = [expressions.compile(text) for text in ("data.m > 1 && data.n > 1", "data.n > 1", "has(data.m)")]

    assert expressions.sieve(programs).sift(expressions.scope({"data": {"n": 2}})) == ([1], 1)


def test_the_same_text_twice_holds_twice(expressions: Expressions) -> None:
    programs = [expressions.compile("data.n > 1") for _ in range(3)]

    assert expressions.sieve(programs).sift(expressions.scope({"data": {"n": 2}})) == ([0, 1, 2], 0)
    assert expressions.sieve([]).sift(expressions.scope({"data": {}})) == ([], 0)
