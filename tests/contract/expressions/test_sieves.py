"""Asked together, programs hold exactly where they hold one by one."""

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from control_plane.adapters.cel import CelExpressions
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
