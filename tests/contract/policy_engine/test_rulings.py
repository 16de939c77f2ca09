"""What every policy engine must answer: deny beats escalate beats allow, and nothing unclear is ever an allow."""

from typing import Any

import pytest

from control_plane.messages import Reason
from tests.contract.policy_engine.asking import Asking

ALWAYS = Reason("always", "anything is allowed", "permits.always")
NO_PERMIT = Reason("no_permit", "no permit allows this", "policy_engine")


def guardrail(*rules: str, name: str = "guard") -> str:
    return f"package setpoint.guardrails.{name}\n\n" + "\n\n".join(rules) + "\n"


def reason(kind: str, code: str, when: str = "") -> str:
    return f'{kind} contains {{"code": "{code}", "msg": "says {code}"}}' + (f" if {when}" if when else "")


def said(code: str, by: str) -> Reason:
    return Reason(code, f"says {code}", by)


# What beats what


def test_a_permit_that_allows_is_enough(ask: Asking) -> None:
    ruling = ask()

    assert (ruling.answer, ruling.reasons, ruling.problem) == ("allow", (ALWAYS,), None)


def test_without_a_permit_nothing_is_allowed(ask: Asking) -> None:
    for ruling in (ask(permit=False), ask(guardrail(reason("deny", "never", "input.never")), permit=False)):
        assert (ruling.answer, ruling.reasons, ruling.problem) == ("deny", (NO_PERMIT,), None)


def test_a_permit_that_does_not_speak_up_allows_nothing(ask: Asking) -> None:
    permit = "package setpoint.permits.some\n\n" + reason("allow", "some", "input.ready == true")

    assert ask(permit, permit=False, given={"ready": True}).answer == "allow"
    for given in ({}, {"ready": False}, {"ready": None}, {"ready": "true"}):
        ruling = ask(permit, permit=False, given=given)
        assert (ruling.answer, ruling.reasons) == ("deny", (NO_PERMIT,))


def test_escalate_beats_allow_and_deny_beats_both(ask: Asking) -> None:
    guards = guardrail(reason("deny", "bad", "input.bad"), reason("escalate", "odd", "input.odd"))

    assert ask(guards).answer == "allow"
    assert ask(guards, given={"odd": True}).answer == "escalate"
    assert ask(guards, given={"odd": True, "bad": True}).answer == "deny"


def test_an_escalation_without_a_permit_is_a_deny(ask: Asking) -> None:
    ruling = ask(guardrail(reason("escalate", "odd")), permit=False)

    assert ruling.answer == "deny"
    assert ruling.reasons == (NO_PERMIT, said("odd", "guardrails.guard"))


def test_all_reasons_are_kept_the_strongest_first_and_always_in_the_same_order(ask: Asking) -> None:
    first = guardrail(reason("deny", "zebra"), reason("escalate", "odd"), reason("deny", "ape"), name="second")
    second = guardrail(reason("deny", "zebra"), reason("deny", "zebra"), name="first")

    ruling = ask(first, second)

    assert ruling.answer == "deny"
    assert ruling.reasons == (
        said("zebra", "guardrails.first"),
        said("ape", "guardrails.second"),
        said("zebra", "guardrails.second"),
        said("odd", "guardrails.second"),
        ALWAYS,
    )
    assert ask(second, first).reasons == ruling.reasons


def test_a_reason_may_be_put_together(ask: Asking) -> None:
    guard = guardrail('deny contains {"code": "wide", "msg": sprintf("%v of %v", [input.share, data.limits.share])}')

    ruling = ask(guard, given={"share": 1}, data={"limits": '{"share": 2}'})

    assert ruling.reasons[0] == Reason("wide", "1 of 2", "guardrails.guard")


def test_packages_do_not_disturb_one_another(ask: Asking) -> None:
    high = guardrail("limit := 100", reason("deny", "high", "input.load > limit"), name="high")
    low = guardrail("limit := 10", reason("deny", "low", "over(input.load)"), "over(x) if x > limit", name="low")
    local = guardrail(reason("deny", "local", "{ limit := 50; input.load > limit }"), name="local")

    codes = {load: [each.code for each in ask(high, low, local, given={"load": load}).reasons] for load in (5, 20, 70)}

    assert codes == {5: ["always"], 20: ["low", "always"], 70: ["local", "low", "always"]}


def test_packages_share_a_library_and_the_policy_data(ask: Asking) -> None:
    library = "package setpoint.lib.load\n\nheavy(x) if x > data.limits[input.zone].load\n"
    guard = "package setpoint.guardrails.guard\n\nimport data.setpoint.lib.load\n\n" + reason(
        "deny", "heavy", "load.heavy(input.load)"
    )
    data = {"limits": '{"north": {"load": 10}, "south": {"load": 20}}'}

    answers = [ask(library, guard, given={"zone": z, "load": 15}, data=data).answer for z in ("north", "south", "west")]

    assert answers == ["deny", "allow", "allow"]


# Whatever is not clear


@pytest.mark.parametrize(
    "rules",
    [
        pytest.param([reason("deny", "never", "1 / input.zero > 1")], id="division by zero"),
        pytest.param([reason("deny", "never", "not far"), "far if 1 / input.zero > 1"], id="division by zero, negated"),
        pytest.param([reason("escalate", "never", "1 / input.zero > 1")], id="division by zero, escalating"),
        pytest.param([reason("deny", "never", "to_number(input.text) > 1")], id="to_number of garbage"),
        pytest.param([reason("deny", "never", "input.text + 1 > 1")], id="arithmetic on text"),
        pytest.param([reason("deny", "never", 'startswith(input.zero, "a")')], id="wrong type"),
        pytest.param([reason("deny", "never", "count(input.zero) > 1")], id="count of a number"),
        pytest.param(
            [reason("deny", "never", "limit > 3"), "limit := 1 if input.text", "limit := 2 if input.text"],
            id="conflicting rules",
        ),
        pytest.param(
            [reason("deny", "never", "limit(1) > 3"), "limit(x) := x if input.text", "limit(x) := x + 1 if input.text"],
            id="conflicting functions",
        ),
    ],
)
def test_a_runtime_error_in_a_policy_is_no_ruling_and_so_a_deny(ask: Asking, rules: list[str]) -> None:
    ruling = ask(guardrail(*rules), given={"zero": 0, "text": "abc"})

    assert ruling.answer == "deny"
    assert ruling.problem
    assert [each.code for each in ruling.reasons] == ["no_ruling"]


def test_an_error_in_a_permit_does_not_hide_behind_another_permit(ask: Asking) -> None:
    permit = "package setpoint.permits.broken\n\n" + reason("allow", "broken", "1 / input.zero > 1")

    ruling = ask(permit, given={"zero": 0})

    assert (ruling.answer, bool(ruling.problem)) == ("deny", True)


@pytest.mark.parametrize(
    "given",
    [
        *("text", 7, None, True, [], {}, ["code", "msg"], 1.5),
        *({"code": "x"}, {"msg": "y"}, {"code": 1, "msg": "y"}, {"code": "x", "msg": 2}, {"code": None, "msg": "y"}),
        *({"code": "", "msg": "y"}, {"code": "Not A Code", "msg": "y"}, {"code": "x" * 100, "msg": "y"}),
    ],
)
@pytest.mark.parametrize("kind", ["deny", "escalate", "allow"])
def test_a_malformed_reason_is_no_ruling_whatever_it_was_for(ask: Asking, kind: str, given: Any) -> None:
    package = "permits" if kind == "allow" else "guardrails"

    ruling = ask(f"package setpoint.{package}.odd\n\n{kind} contains input.given\n", given={"given": given})

    assert ruling.answer == "deny"
    assert ruling.problem


def test_a_policy_without_a_clear_kind_is_no_ruling(ask: Asking) -> None:
    odd = (
        "package setpoint.guardrail.typo\n\n" + reason("deny", "never"),
        "package setpoint.permits.both\n\n" + reason("allow", "yes") + "\n" + reason("deny", "no"),
        guardrail(reason("allow", "yes")),
        "package setpoint.guardrails.flat\n\ndeny if input.bad\n",
        "package setpoint.guardrails.broken\n\ndeny contains",
        "",
    )
    for module in odd:
        ruling = ask(module)
        assert (ruling.answer, bool(ruling.problem)) == ("deny", True), module


def test_policy_data_that_is_no_json_is_no_ruling(ask: Asking) -> None:
    for data in ({"limits": "{"}, {"setpoint": "{}"}, {"a-b": "{}"}):
        assert ask(data=data).problem


def test_more_reasons_than_anybody_reads_are_no_ruling(ask: Asking) -> None:
    guard = guardrail('deny contains {"code": code, "msg": "m"} if some code in input.codes')

    assert not ask(guard, given={"codes": [f"c{n}" for n in range(90)]}).problem
    assert ask(guard, given={"codes": [f"c{n}" for n in range(500)]}).problem


def test_a_long_sentence_is_cut(ask: Asking) -> None:
    guard = guardrail('deny contains {"code": "long", "msg": input.text}')

    assert ask(guard, given={"text": "word " * 1000}).reasons[0].msg == ("word " * 100)
