"""The tests of policies are run, and what they leave out is told."""

import pytest

from control_plane.adapters.regorus import TestReport, run_tests
from control_plane.errors import InvalidWorkspace

GUARD = """package setpoint.guardrails.guard

deny contains {"code": "many", "msg": "many"} if input.facts.in_flight > limit

escalate contains {
	"code": "night",
	"msg": "night",
} if {
	input.facts.hour_utc < 5
}

limit := data.guard.limit
"""
TESTS = """package setpoint.guardrails.guard_test

import data.setpoint.guardrails.guard

test_many_are_denied if {
	count(guard.deny) == 1 with input.facts.in_flight as 3 with data.guard.limit as 2
}

test_at_night_people_decide if count(guard.escalate) == 1 with input.facts.hour_utc as 3
"""


def report_of(*tests: str, data: tuple[tuple[str, str], ...] = ()) -> TestReport:
    return run_tests([("guard", GUARD)], [("guard_test", "\n".join(tests))], data)


def test_tests_that_pass_and_cover_every_rule_are_enough() -> None:
    report = report_of(TESTS)

    assert report.passed
    assert [(trial.name, trial.line) for trial in report.trials] == [
        ("test_many_are_denied", 5),
        ("test_at_night_people_decide", 9),
    ]
    assert report.flaws == ()


def test_a_test_that_is_not_true_or_ends_in_an_error_has_failed() -> None:
    report = report_of(
        TESTS,
        "test_false := false",
        "test_undefined if guard.limit == 3",
        'test_broken if to_number("x") == 1',
        'test_with_a_word if { print("in flight:", 7); false }',
        "test_not_true := 1",
    )

    assert not report.passed
    assert {trial.name: trial.problem for trial in report.failed} == {
        "test_false": "is false, not true",
        "test_undefined": "is <undefined>, not true",
        "test_broken": "ended in an error: could not parse string as number",
        "test_with_a_word": "is <undefined>, not true [guard_test:14: in flight: 7]",
        "test_not_true": "is 1, not true",
    }
    assert [flaw.line for flaw in report.flaws] == [11, 12, 13, 14, 15]


def test_a_reason_that_no_test_makes_true_is_named_though_it_was_tried() -> None:
    tried = TESTS.replace("deny) == 1", "deny) == 0").replace("as 3 with data", "as 1 with data")

    report = report_of(tried)

    assert report.failed == ()
    assert not report.passed
    assert [(flaw.file, flaw.line, flaw.problem) for flaw in report.uncovered] == [
        ("guard", 3, "no test makes this rule of deny true")
    ]


def test_without_tests_everything_is_uncovered() -> None:
    report = run_tests([("guard", GUARD)], [])

    assert not report.passed
    assert [flaw.line for flaw in report.uncovered] == [3, 5, 12]


def test_policy_data_is_there_for_the_tests() -> None:
    report = report_of(TESTS, "test_limit if guard.limit == 7", data=(("guard", '{"limit": 7}'),))

    assert report.passed


def test_modules_with_flaws_are_not_run() -> None:
    with pytest.raises(InvalidWorkspace) as refused:
        run_tests([("guard", GUARD + "\nx := nope\n")], [("guard_test", TESTS + "\ntest_x := rnd()\n")])

    assert [(flaw.file, flaw.problem) for flaw in refused.value.flaws] == [
        ("guard", "nothing is called nope"),
        ("guard_test", "there is no function rnd that a policy may call"),
    ]
    with pytest.raises(InvalidWorkspace, match="no JSON"):
        report_of(TESTS, data=(("guard", "{"),))
