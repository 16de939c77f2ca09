"""Inputs that nobody meant: a policy engine may deny them, and may not fall over or allow what it could not read."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.contract.policy_engine.asking import Asking

NARROW = """package setpoint.guardrails.narrow

deny contains {"code": "share_unknown", "msg": "no share"} if not share_known

deny contains {"code": "max_unknown", "msg": "no maximum"} if not max_known

deny contains {"code": "too_wide", "msg": "too wide"} if input.facts.share > input.intent.limits.share_max

deny contains {"code": "zone_closed", "msg": "closed"} if not zone_open

deny contains {"code": "name_odd", "msg": "odd"} if not name_fine

share_known if is_number(input.facts.share)

max_known if is_number(input.intent.limits.share_max)

zone_open if data.zones[input.decision.subject.name].closed == false

name_fine if startswith(input.decision.subject.name, "web-")

escalate contains {"code": "many", "msg": "many"} if count(harmful) > 1

harmful := [recent | some recent in input.facts.recent; recent.effect == "harmful"]
"""
ZONES = '{"web-1": {"closed": false}, "web-2": {"closed": true}}'

numbers = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
texts = (
    st.sampled_from(["web-1", "web-2", "db", "", "\x00", "é🙂", "x" * 10_000, "<undefined>", "true", "null"])
    | st.text()
)
anything = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)


def at(*names: str) -> st.SearchStrategy[Any]:
    """What a policy looks for under these names, or anything else in its place."""
    right = st.fixed_dictionaries({}, optional={name: STRATEGIES.get(name, anything) for name in names})
    return right | anything


STRATEGIES: dict[str, st.SearchStrategy[Any]] = {
    "share": st.sampled_from([0.1, 0.4, 0.9]) | anything,
    "share_max": st.sampled_from([0.4]) | anything,
    "name": st.sampled_from(["web-1", "web-2"]) | anything,
}
STRATEGIES["recent"] = st.lists(at("effect"), max_size=3) | anything
STRATEGIES["limits"] = at("share_max")
STRATEGIES["subject"] = at("name")
STRATEGIES |= {"facts": at("share", "recent"), "intent": at("limits"), "decision": at("subject")}
inputs = st.fixed_dictionaries({}, optional={name: STRATEGIES[name] for name in ("facts", "intent", "decision")})


def field(value: Any, *names: str) -> Any:
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(given_input=inputs)
def test_an_allow_means_that_every_fact_was_there_and_in_order(ask: Asking, given_input: dict[str, Any]) -> None:
    ruling = ask(NARROW, given=given_input, data={"zones": ZONES})

    if ruling.answer != "deny":
        share, most = field(given_input, "facts", "share"), field(given_input, "intent", "limits", "share_max")
        name = field(given_input, "decision", "subject", "name")
        assert ruling.problem is None
        assert is_number(share)
        assert is_number(most)
        assert float(share) <= float(most)
        assert isinstance(name, str)
        assert name.startswith("web-")
        assert name != "web-2"


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(given_input=st.dictionaries(texts, anything, max_size=4))
def test_an_input_of_any_shape_gives_a_ruling_and_no_exception(ask: Asking, given_input: dict[str, Any]) -> None:
    ruling = ask(NARROW, given=given_input, data={"zones": ZONES})

    assert ruling.answer == "deny"
    assert ruling.reasons


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    "share",
    [
        pytest.param(nested(100_000), id="nested without end"),
        pytest.param(nested(1_000), id="nested deeply"),
        pytest.param("x" * 10_000_000, id="ten million characters"),
        pytest.param(list(range(1_000_000)), id="a million items"),
        pytest.param("\ud800", id="half a character"),
        pytest.param(float("nan"), id="not a number"),
        pytest.param(float("inf"), id="infinite"),
        pytest.param(10**400, id="a number without end"),
        pytest.param({1, 2}, id="a set"),
        pytest.param(object(), id="no value at all"),
        pytest.param({1: 2}, id="a key that is no text"),
    ],
)
def test_what_cannot_be_an_input_is_denied(ask: Asking, share: Any) -> None:
    given_input = {
        "facts": {"share": share},
        "intent": {"limits": {"share_max": 0.4}},
        "decision": {"subject": {"name": "web-1"}},
    }

    ruling = ask(NARROW, given=given_input, data={"zones": ZONES})

    assert ruling.answer == "deny"
