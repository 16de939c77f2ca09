"""One event and one row through all stages."""

from typing import Any

import pytest
from msgspec.structs import replace

from control_plane.catalogue import Controls
from control_plane.errors import InvalidMessage
from control_plane.loop.arrival import Arrival
from control_plane.loop.intake import EVENT_FUTURE_MAX_MS, check_event
from control_plane.loop.step import Ask, Done, step
from control_plane.messages import Command, Context, Decision, Event, Proposed, Ruling, Verdict
from control_plane.messages.wire import decode_event, encode
from state.rows import SEEN_IDS_MAX, Row
from tests import builders
from tests.builders import NOW_MS, WEB_1

CONTROLS = builders.controls()
HOT = {"rss": 500.0}


def arrival(event: Event, offset: int = 7, recorded_ms: int = NOW_MS) -> Arrival:
    return Arrival(event, offset, recorded_ms)


def stepped(
    event: Event,
    row: Row | None = None,
    *,
    controls: Controls = CONTROLS,
    answer: builders.Answering = builders.allow,
    offset: int = 7,
    recorded_ms: int = NOW_MS,
) -> Done:
    result = step(controls, row or Row(subject=event.subject), Arrival(event, offset, recorded_ms))
    while isinstance(result, Ask):
        result = result.resume({question.id: answer(question) for question in result.questions})
    return result


class TestTheWay:
    def test_an_allowed_decision_becomes_a_command(self) -> None:
        done = stepped(builders.event(data=HOT))

        decision, verdict, command = done.said
        assert isinstance(decision, Decision)
        assert isinstance(verdict, Verdict)
        assert isinstance(command, Command)
        assert (verdict.answer, verdict.stage) == ("allow", "policy")
        assert verdict.lineage.causation_id == decision.lineage.message_id == command.decision_id
        assert command.lineage.causation_id == verdict.lineage.message_id
        assert command.deadline_ms == NOW_MS + 30_000

    @pytest.mark.parametrize("answer", ["deny", "escalate"])
    def test_anything_but_allow_is_a_verdict_without_a_command(self, answer: Any) -> None:
        done = stepped(builders.event(data=HOT), answer=lambda question: Ruling(answer=answer, reasons=()))

        assert [type(found) for found in done.said] == [Decision, Verdict]
        assert done.row.live == ()

    def test_no_ruling_is_a_denial_that_says_so(self) -> None:
        done = stepped(builders.event(data=HOT), answer=lambda question: Ruling.none("time-out after 50 ms", "p1"))

        verdict = done.said[1]
        assert isinstance(verdict, Verdict)
        assert (verdict.answer, verdict.problem) == ("deny", "time-out after 50 ms")
        assert verdict.reasons[0].code == "no_ruling"

    def test_a_verdict_holds_what_policy_was_asked_with_and_every_revision(self) -> None:
        verdict = stepped(builders.event(data=HOT)).said[1]

        assert isinstance(verdict, Verdict)
        assert verdict.policy_input is not None
        assert verdict.policy_input["event"]["data"] == HOT
        assert (verdict.controls_revision, verdict.policy_revision) == (CONTROLS.revision, "p1")

    def test_a_guard_that_refuses_is_a_verdict_and_policy_is_not_asked(self) -> None:
        def never(question: Any) -> Ruling:
            raise AssertionError("policy was asked")

        done = stepped(builders.event(data=HOT, at_ms=NOW_MS - 60_001), answer=never)

        verdict = done.said[1]
        assert isinstance(verdict, Verdict)
        assert (verdict.answer, verdict.stage, verdict.policy_input) == ("deny", "freshness", None)

    def test_the_second_of_two_agents_sees_the_command_of_the_first(self) -> None:
        controls = builders.controls(builders.intent(), builders.row(), builders.rule("a"), builders.rule("b"))

        said = stepped(builders.event(data=HOT), controls=controls).said

        verdicts = [found for found in said if isinstance(found, Verdict)]
        assert [(found.agent, found.answer) for found in verdicts] == [("a", "allow"), ("b", "deny")]
        assert verdicts[1].reasons[0].code == "already_live"

    def test_both_agents_decide_on_the_same_row(self) -> None:
        controls = builders.controls(builders.intent(), builders.row(), builders.rule("a"), builders.rule("b"))

        decisions = [
            found for found in stepped(builders.event(data=HOT), controls=controls).said if isinstance(found, Decision)
        ]

        assert {found.action_version for found in decisions} == {0}
        assert len({found.context_digest for found in decisions}) == 1

    def test_the_same_step_gives_the_same_bytes(self) -> None:
        event = builders.event(data=HOT)

        first, second = stepped(event), stepped(event)

        assert [encode(found) for found in first.said if not isinstance(found, Context)] == [
            encode(found) for found in second.said if not isinstance(found, Context)
        ]
        assert first.row == second.row

    def test_answers_that_are_given_along_are_not_asked_for(self) -> None:
        event = builders.event(data=HOT)
        asked = step(CONTROLS, Row(subject=WEB_1), arrival(event))
        assert isinstance(asked, Ask)
        answers = {question.id: builders.allow(question) for question in asked.questions}

        assert isinstance(step(CONTROLS, Row(subject=WEB_1), arrival(event), answers), Done)


class TestTakingIn:
    def test_an_event_that_comes_again_is_noted_and_changes_only_time_and_offset(self) -> None:
        first = stepped(builders.event(data=HOT))

        again = stepped(builders.event(data=HOT), first.row, offset=8, recorded_ms=NOW_MS + 5)

        assert (again.said, again.notes) == ((), ("duplicate",))
        assert again.row == replace(first.row, applied=8, now_ms=NOW_MS + 5)

    def test_it_is_remembered_among_the_last_events_of_its_subject_and_not_beyond(self) -> None:
        row = stepped(builders.event(message_id="first")).row
        for number in range(SEEN_IDS_MAX - 1):
            row = stepped(builders.event(message_id=f"e{number}"), row).row
        assert stepped(builders.event(message_id="first"), row).notes == ("duplicate",)

        row = stepped(builders.event(message_id="one more"), row).row
        assert stepped(builders.event(message_id="first"), row).notes == ()

    def test_the_same_id_from_another_source_is_another_event(self) -> None:
        row = stepped(builders.event(source="a")).row

        assert stepped(builders.event(source="b"), row).notes == ()

    def test_log_time_never_goes_back(self) -> None:
        row = stepped(builders.event(message_id="a"), recorded_ms=NOW_MS).row

        assert stepped(builders.event(message_id="b"), row, recorded_ms=NOW_MS - 9_000).row.now_ms == NOW_MS

    def test_a_producers_clock_that_runs_ahead_empties_no_window(self) -> None:
        counted = builders.row(fields={"measured": {"count": {"window": "1m"}}})
        controls = builders.controls(counted)
        row = Row(subject=WEB_1)
        for number in range(5):
            row = stepped(builders.event(message_id=f"e{number}"), row, controls=controls).row

        ahead = builders.event(message_id="ahead", at_ms=NOW_MS + EVENT_FUTURE_MAX_MS)
        row = stepped(ahead, row, controls=controls).row
        row = stepped(builders.event(message_id="later"), row, controls=controls, recorded_ms=NOW_MS + 1_000).row

        assert controls.projections["health"].view(row.parts["health"], NOW_MS + 1_000) == {"measured": 7}

    def test_a_part_that_nobody_declares_any_longer_leaves_the_row(self) -> None:
        before = builders.controls(builders.row(), builders.row("gone"))
        row = stepped(builders.event(message_id="a", data=HOT), controls=before).row
        assert set(row.parts) == set(row.folded_ms) == {"health", "gone"}

        row = stepped(builders.event(message_id="b"), row, controls=builders.controls(builders.row())).row

        assert set(row.parts) == set(row.folded_ms) == {"health"}

    def test_an_agent_is_shown_only_what_it_reads(self) -> None:
        decide = 'return [context.propose("restart_service", because=str(sorted(context.rows)))]'
        controls = builders.controls(
            builders.intent(),
            builders.row(),
            builders.row("secrets"),
            builders.agent("nosy", decide, reads=("health",)),
        )

        decision = stepped(builders.event(data=HOT), controls=controls).said[0]

        assert isinstance(decision, Decision)
        assert decision.because == "['health']"

    def test_a_failing_agent_leaves_no_trace_in_the_row(self) -> None:
        broken = builders.agent("broken", "raise RuntimeError")
        controls = builders.controls(builders.intent(), builders.row(), broken)

        done = stepped(builders.event(data=HOT), controls=controls)

        assert [failure.agent for failure in done.failures] == ["broken"]
        assert controls.projections["health"].view(done.row.parts["health"], NOW_MS) == {"rss": 500.0}
        assert done.row.own == {}


class TestIntake:
    def refused(self, event: Event, *, recorded_ms: int = NOW_MS, controls: Controls = CONTROLS) -> InvalidMessage:
        with pytest.raises(InvalidMessage) as caught:
            check_event(event, recorded_ms, controls)
        assert caught.value.cure
        return caught.value

    def test_an_event_from_further_ahead_than_clocks_may_differ(self) -> None:
        ahead = builders.event(at_ms=NOW_MS + EVENT_FUTURE_MAX_MS + 1)

        assert self.refused(ahead).code == "from_future"

    def test_an_event_exactly_as_far_ahead_as_they_may(self) -> None:
        check_event(builders.event(at_ms=NOW_MS + EVENT_FUTURE_MAX_MS), NOW_MS, CONTROLS)

    def test_an_event_that_breaks_its_schema_with_the_field(self) -> None:
        schema = builders.item("schema", "service.measured", {"properties": {"rss": {"type": "number"}}})

        refusal = self.refused(builders.event(data={"rss": "much"}), controls=builders.controls(schema))

        assert (refusal.code, refusal.field) == ("schema_broken", "data.rss")
        assert "schemas/service.measured.json" in refusal.cure

    @pytest.mark.parametrize("event_type", ["service.unheard_of", "restart"])
    def test_a_type_that_nothing_is_declared_for(self, event_type: str) -> None:
        assert self.refused(builders.event(event_type)).code == "type_unknown"

    @pytest.mark.parametrize(
        "change",
        [
            {"subject": "service/other"},
            {"agent": "another"},
            {"lineage": None},
        ],
        ids=["on another subject", "of another agent", "two of one id"],
    )
    def test_an_answer_of_a_slow_agent_that_is_not_its_own_to_give(self, change: dict[str, Any]) -> None:
        decision = stepped(builders.event(data=HOT)).said[0]
        assert isinstance(decision, Decision)
        foreign = decision if "lineage" in change else replace(decision, **change)
        proposed = Proposed(
            lineage=decision.lineage.child("proposed"),
            subject=WEB_1,
            occurred_ms=NOW_MS,
            context_id="c1",
            agent=decision.agent,
            agent_version="1.0.0",
            decisions=(decision, foreign),
        )

        assert self.refused(decode_event(encode(proposed), NOW_MS)).code == "proposal_foreign"
