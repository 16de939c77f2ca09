"""The guards: each refuses with its code and a sentence, and lets pass what is exactly at its edge."""

from typing import Any

import pytest
from msgspec.structs import replace

from control_plane.catalogue import Controls
from control_plane.causality import Lineage
from control_plane.causality.lineage import HOP_COUNT_MAX, trail_step
from control_plane.governance import Case, concurrency, first_refusal, freshness, grant, limits, lineage, policy
from control_plane.governance.order import ORDER
from control_plane.messages import Decision, Reason, Subject
from control_plane.messages.wire import utc
from state.rows import LiveCommand, RecentAction, Row
from tests import builders
from tests.builders import NOW_MS, WEB_1

INTENT = builders.intent(
    action_class="lifecycle",
    context_age_max="1m",
    parameters={"type": "object", "properties": {"grace": {"type": "string", "format": "duration"}}},
    limits={"cooldown": "30s", "per_subject": {"max": 2, "window": "10m"}},
)
CONTROLS: Controls = builders.controls(INTENT, builders.row())


def decision(**changes: Any) -> Decision:
    found = Decision(
        lineage=Lineage.root("probe", "e1").child("decision"),
        subject=WEB_1,
        occurred_ms=NOW_MS,
        agent="guard",
        agent_version="1.0.0",
        intent="restart_service",
        parameters={},
        confidence=1.0,
        because="rss is too much",
    )
    return replace(found, **changes)


def case(**changes: Any) -> Case:
    """A case that every guard lets pass."""
    found = Case(
        decision=decision(),
        intent=CONTROLS.intents["restart_service"],
        event=builders.event(data={"rss": 500.0}),
        subject=Subject.parse(WEB_1),
        row=Row(subject=WEB_1, now_ms=NOW_MS),
        now_ms=NOW_MS,
        granted=("restart_service",),
        rows={"health": {"rss": 500.0}},
        ages_ms={"health": 0},
        scope=CONTROLS.expressions.scope({"data": {"rss": 500.0}}),
    )
    return replace(found, **changes)


def acted(at_ms: int, *, intent: str = "restart_service", action_class: str = "lifecycle") -> RecentAction:
    return RecentAction(command_id=f"c{at_ms}", agent="guard", intent=intent, action_class=action_class, at_ms=at_ms)


def live(action_class: str) -> LiveCommand:
    return LiveCommand(
        command_id="c1",
        decision_id="d1",
        agent="other",
        intent="stop_service",
        action_class=action_class,
        since_ms=NOW_MS,
        deadline_ms=NOW_MS,
    )


def row(*actions: RecentAction, live_now: tuple[LiveCommand, ...] = (), action_version: int = 0) -> Row:
    return Row(subject=WEB_1, now_ms=NOW_MS, recent=actions, live=live_now, action_version=action_version)


def refused(reason: Reason | None, code: str, sentence: str) -> None:
    assert reason is not None, f"it should be refused with {code}"
    assert (reason.code, reason.msg) == (code, sentence)
    assert reason.by.startswith("guard.")


def test_what_nobody_objects_to_passes_every_guard() -> None:
    assert first_refusal(case()) is None


def test_the_order_is_fixed_and_the_first_that_refuses_ends_it() -> None:
    assert [stage for stage, _ in ORDER] == ["grant", "lineage", "freshness", "concurrency", "limits"]
    cold_and_stale = case(row=row(acted(NOW_MS)), event=builders.event(at_ms=NOW_MS - 60_001))

    stage, reason = first_refusal(cold_and_stale) or ("", None)

    assert (stage, reason and reason.code) == ("freshness", "stale_event")


class TestGrant:
    def test_an_intent_that_nobody_declared(self) -> None:
        undeclared = case(intent=None, decision=decision(intent="launch_rocket"))

        refused(grant.check(undeclared), "intent_unknown", "no intent 'launch_rocket' is in the catalogue")

    def test_an_intent_that_the_agent_was_not_granted(self) -> None:
        refused(grant.check(case(granted=())), "not_granted", "guard may not propose restart_service")

    def test_a_subject_of_another_kind(self) -> None:
        foreign = case(subject=Subject.parse("door/north"))

        refused(grant.check(foreign), "subject_kind", "restart_service is for subjects of kind service, not door")

    def test_parameters_that_break_the_schema_and_their_place(self) -> None:
        reason = grant.check(case(decision=decision(parameters={"grace": "soon"})))

        assert reason is not None
        assert reason.code == "parameters_invalid"
        assert reason.msg.startswith("parameters.grace: ")

    def test_parameters_that_fit(self) -> None:
        assert grant.check(case(decision=decision(parameters={"grace": "2s"}))) is None

    def test_an_expression_that_does_not_compile(self) -> None:
        broken = case(invalid_expression="1 +: ends too early")

        refused(
            grant.check(broken), "expression_invalid", "the decision holds no valid expression: 1 +: ends too early"
        )


class TestLineage:
    def test_a_flow_at_the_hop_limit(self) -> None:
        at_limit = replace(decision().lineage, hop_count=HOP_COUNT_MAX)

        refused(
            lineage.check(case(decision=decision(lineage=at_limit))),
            "hop_limit",
            f"the flow has gone round {HOP_COUNT_MAX} times; the limit is {HOP_COUNT_MAX}",
        )

    def test_a_flow_one_round_before_it(self) -> None:
        before = replace(decision().lineage, hop_count=HOP_COUNT_MAX - 1)

        assert lineage.check(case(decision=decision(lineage=before))) is None

    def test_the_same_decision_among_its_own_ancestors(self) -> None:
        step = trail_step("guard", WEB_1, "restart_service")
        own = replace(decision().lineage, hop_count=1, trail=("00000000", step))

        refused(
            lineage.check(case(decision=decision(lineage=own))),
            "own_ancestor",
            f"guard follows from its own restart_service on {WEB_1}",
        )

    @pytest.mark.parametrize(
        "step",
        [
            trail_step("other", WEB_1, "restart_service"),
            trail_step("guard", "service/web-2", "restart_service"),
            trail_step("guard", WEB_1, "stop_service"),
        ],
        ids=["another agent's", "on another subject", "another intent"],
    )
    def test_another_decision_among_them(self, step: str) -> None:
        other = replace(decision().lineage, hop_count=1, trail=(step,))

        assert lineage.check(case(decision=decision(lineage=other))) is None


class TestFreshness:
    def test_an_event_older_than_the_intent_allows(self) -> None:
        old = case(event=builders.event(at_ms=NOW_MS - 60_001))

        refused(freshness.check(old), "stale_event", "the event is 60001 ms old; the intent allows 60000 ms")

    def test_an_event_exactly_as_old_as_allowed(self) -> None:
        assert freshness.check(case(event=builders.event(at_ms=NOW_MS - 60_000))) is None

    def test_a_context_that_an_agent_looked_at_for_too_long(self) -> None:
        slow = case(decision=decision(occurred_ms=NOW_MS - 60_001))

        refused(freshness.check(slow), "stale_context", "the agent looked 60001 ms ago; the intent allows 60000 ms")

    def test_a_part_of_the_row_that_nothing_has_fed_for_long(self) -> None:
        refused(
            freshness.check(case(ages_ms={"health": 60_001})),
            "stale_row",
            "health was last fed 60001 ms ago; the intent allows 60000 ms",
        )

    def test_a_part_exactly_as_old_as_allowed_and_an_event_from_a_clock_ahead(self) -> None:
        assert freshness.check(case(ages_ms={"health": 60_000}, event=builders.event(at_ms=NOW_MS + 5_000))) is None


class TestConcurrency:
    def test_a_live_command_of_the_same_class(self) -> None:
        refused(
            concurrency.check(case(row=row(live_now=(live("lifecycle"),)))),
            "already_live",
            f"stop_service of other is under way on {WEB_1} (command c1)",
        )

    def test_a_live_command_of_another_class(self) -> None:
        assert concurrency.check(case(row=row(live_now=(live("scaling"),)))) is None

    def test_a_proposal_from_outside_after_something_was_done(self) -> None:
        outdated = case(row=row(action_version=3), decision=decision(action_version=2), from_outside=True)

        refused(concurrency.check(outdated), "outdated", f"something was done to {WEB_1} since guard looked at it")

    def test_a_proposal_from_outside_that_saw_the_last_of_it(self) -> None:
        assert (
            concurrency.check(case(row=row(action_version=3), decision=decision(action_version=3), from_outside=True))
            is None
        )

    @pytest.mark.parametrize("text", ["data.rss > 600.0", "data.missing > 1.0", "data.rss"])
    def test_a_condition_that_no_longer_holds_is_missing_or_is_none(self, text: str) -> None:
        gone = case(still_when=CONTROLS.program(text))

        refused(concurrency.check(gone), "no_longer_holds", f"still_when does not hold: {text}")

    def test_a_condition_that_still_holds(self) -> None:
        assert concurrency.check(case(still_when=CONTROLS.program("data.rss > 400.0"))) is None


class TestLimits:
    def test_the_same_act_within_the_cool_down(self) -> None:
        refused(
            limits.check(case(row=row(acted(NOW_MS - 29_999)))),
            "cooldown",
            f"restart_service cools down for another 1 ms on {WEB_1}",
        )

    def test_the_instant_at_which_it_is_over(self) -> None:
        assert limits.check(case(row=row(acted(NOW_MS - 30_000)))) is None

    def test_another_act_within_it(self) -> None:
        assert limits.check(case(row=row(acted(NOW_MS - 1, intent="stop_service")))) is None

    def test_as_often_as_the_limit_within_the_window(self) -> None:
        refused(
            limits.check(case(row=row(acted(NOW_MS - 599_999), acted(NOW_MS - 40_000)))),
            "too_often",
            f"restart_service was done 2 times on {WEB_1} within 600000 ms; the limit is 2",
        )

    def test_the_instant_at_which_the_first_leaves_the_window(self) -> None:
        assert limits.check(case(row=row(acted(NOW_MS - 600_000), acted(NOW_MS - 40_000)))) is None

    def test_an_intent_without_limits(self) -> None:
        free = builders.controls(builders.intent()).intents["restart_service"]

        assert limits.check(case(intent=free, row=row(*[acted(NOW_MS) for _ in range(32)]))) is None


class TestPolicyQuestion:
    def test_it_holds_everything_that_policies_are_promised(self) -> None:
        asked = policy.question(case(row=row(acted(NOW_MS - 100_000), acted(NOW_MS - 700_000))))

        assert asked.id == decision().lineage.message_id
        assert set(asked.input) == {
            "decision", "intent", "event", "rows", "facts", "autonomy", "lineage", "now",
        }  # fmt: skip
        assert asked.input["decision"]["subject"] == {"kind": "service", "name": "web-1", "id": WEB_1}
        assert asked.input["intent"]["limits"]["per_subject"] == {"max": 2, "window_ms": 600_000}
        assert asked.input["rows"] == {"health": {"rss": 500.0}}
        assert asked.input["now"] == "2026-01-01T00:00:00Z"

    def test_its_facts_count_recent_actions_and_ages(self) -> None:
        facts = policy.question(
            case(row=row(acted(NOW_MS - 100_000), acted(NOW_MS - 600_000), live_now=(live("scaling"),)))
        ).input["facts"]

        assert (facts["in_flight"], facts["actions_last_10m"], facts["hour_utc"]) == (1, 1, 0)
        assert facts["recent_actions"][0]["age_ms"] == 100_000
        assert facts["ages_ms"] == {"health": 0}

    def test_an_event_from_a_clock_ahead_has_age_zero(self) -> None:
        assert policy.question(case(event=builders.event(at_ms=NOW_MS + 9))).input["facts"]["event_age_ms"] == 0

    def test_the_hour_is_that_of_log_time(self) -> None:
        later = NOW_MS + 13 * 3_600_000

        assert policy.question(case(now_ms=later)).input["facts"]["hour_utc"] == utc(later).hour == 13
