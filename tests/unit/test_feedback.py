"""Outcomes and effects on their way back: matched with what is open, judged on what was seen, dropped when unknown."""

from typing import Any

import pytest
from msgspec.structs import replace

from control_plane.catalogue.audiences import Audience
from control_plane.causality.lineage import HOP_COUNT_MAX, trail_step
from control_plane.loop.arrival import Arrival
from control_plane.loop.feedback import EFFECT_WATCHES_MAX, OPEN_CONTEXTS_MAX
from control_plane.loop.step import Ask, Done, Said, step
from control_plane.messages import Command, Context, Decision, Effect, Event, Outcome, Proposed, Verdict
from control_plane.messages.event import TICK
from control_plane.messages.outcome import Status
from control_plane.messages.wire import decode_event, encode
from control_plane.ports.agent import SLOW_ANSWER_MAX_MS
from state.rows import RECENT_ACTIONS_MAX, Row
from tests import builders
from tests.builders import NOW_MS, WEB_1

EXPECTS = {"where": "rows.health.rss < 200.0", "harm": "rows.health.rss > 900.0", "within": "10s", "samples_min": 2}


class Loop:
    """One subject of a loop; milliseconds count from the first event."""

    def __init__(self, *items: Any, answer: builders.Answering = builders.allow) -> None:
        rule = builders.rule(expects=EXPECTS, repeat_interval="0s", reads=["health"])
        self.controls = builders.controls(*(items or (builders.intent(), builders.row(), rule)))
        self.row = Row(subject=WEB_1)
        self.notes: tuple[str, ...] = ()
        self._answer = answer
        self._offset = 0

    def measure(self, at_ms: int, rss: float, **event: Any) -> list[Said]:
        found = {"data": {"rss": rss}, "message_id": f"e{self._offset}", "at_ms": NOW_MS + at_ms, **event}
        return self.take(builders.event(**found), at_ms)

    def come_back(self, message: Outcome | Effect | Proposed, at_ms: int) -> list[Said]:
        return self.take(decode_event(encode(message), NOW_MS + at_ms), at_ms)

    def tick(self, at_ms: int) -> list[Said]:
        return self.take(builders.event(TICK, at_ms=NOW_MS + at_ms), at_ms)

    def take(self, event: Event, at_ms: int) -> list[Said]:
        self._offset += 1
        result: Done | Ask = step(self.controls, self.row, Arrival(event, self._offset, NOW_MS + at_ms))
        while isinstance(result, Ask):
            result = result.resume({question.id: self._answer(question) for question in result.questions})
        self.row, self.notes = result.row, result.notes
        return list(result.said)

    def command(self, at_ms: int = 0) -> Command:
        """Let the rule propose, and give the command that came of it."""
        return next(found for found in self.measure(at_ms, 500.0) if isinstance(found, Command))

    def acted(self, at_ms: int = 0, status: Status = "succeeded") -> Command:
        """A command that has come to an end at once."""
        command = self.command(at_ms)
        self.come_back(builders.outcome(command, status), at_ms)
        return command

    def judged(self, at_ms: int = 10_000) -> Effect:
        (effect,) = self.tick(at_ms)
        assert isinstance(effect, Effect)
        return effect


class TestOutcomes:
    def test_a_command_is_live_until_its_outcome_comes_back(self) -> None:
        loop = Loop()
        command = loop.command()
        assert [live.command_id for live in loop.row.live] == [command.lineage.message_id]

        loop.come_back(builders.outcome(command, "failed"), 5)

        assert loop.row.live == ()
        assert [action.outcome for action in loop.row.recent] == ["failed"]

    def test_commands_and_outcomes_make_the_row_newer_and_telemetry_does_not(self) -> None:
        loop = Loop()
        versions = [loop.row.action_version]
        command = loop.command()
        versions.append(loop.row.action_version)
        loop.measure(1, 1.0)
        versions.append(loop.row.action_version)
        loop.come_back(builders.outcome(command), 5)
        versions.append(loop.row.action_version)

        assert versions == [0, 1, 1, 2]

    def test_an_outcome_that_comes_twice_is_dropped_the_second_time(self) -> None:
        loop = Loop()
        outcome = builders.outcome(loop.command())
        loop.come_back(outcome, 5)
        before = loop.row

        assert loop.come_back(outcome, 6) == []

        assert loop.notes == ("unmatched",)
        assert replace(loop.row, applied=0, now_ms=0) == replace(before, applied=0, now_ms=0)

    def test_an_outcome_that_nobody_waits_for_is_dropped(self) -> None:
        loop = Loop()
        command = loop.command()
        stranger = replace(command, lineage=command.lineage.child("stranger"))

        loop.come_back(builders.outcome(stranger), 5)

        assert loop.notes == ("unmatched",)
        assert len(loop.row.live) == 1

    def test_an_outcome_may_set_off_a_rule_of_its_own(self) -> None:
        tell = {"intent": "tell"}
        on_failure = builders.rule("on_failure", on="command.failed", when="data.attempts > 0", propose=tell)
        loop = Loop(builders.intent(), builders.intent("tell"), builders.row(), builders.rule(), on_failure)

        said = loop.come_back(builders.outcome(loop.command(), "failed"), 5)

        assert [(type(found), found.intent) for found in said if not isinstance(found, Effect | Context)] == [
            (Decision, "tell"), (Verdict, "tell"), (Command, "tell"),
        ]  # fmt: skip

    def test_only_the_last_actions_are_remembered(self) -> None:
        loop = Loop(builders.intent(), builders.row(), builders.rule(repeat_interval="0s"))
        for number in range(RECENT_ACTIONS_MAX + 3):
            loop.acted(number)

        assert len(loop.row.recent) == RECENT_ACTIONS_MAX


class TestWindows:
    def test_the_window_opens_with_success_and_closes_at_the_very_millisecond(self) -> None:
        loop = Loop()
        loop.acted()
        assert loop.row.due_ms() == NOW_MS + 10_000

        assert loop.tick(9_999) == []
        assert loop.judged(10_000).occurred_ms == NOW_MS + 10_000
        assert loop.row.due_ms() is None

    @pytest.mark.parametrize("status", ["failed", "unknown", "expired", "refused"])
    def test_no_window_opens_for_what_was_not_done(self, status: Status) -> None:
        loop = Loop()
        loop.acted(status=status)

        assert loop.row.watches == ()

    @pytest.mark.parametrize(
        ("samples", "effect", "because"),
        [
            ([100.0, 100.0], "effective", "it holds: rows.health.rss < 200.0"),
            ([300.0, 300.0], "ineffective", "it does not hold: rows.health.rss < 200.0"),
            ([100.0, 300.0], "ineffective", "it does not hold: rows.health.rss < 200.0"),
            ([300.0, 100.0], "effective", "it holds: rows.health.rss < 200.0"),
            ([950.0, 950.0], "harmful", "the harm holds: rows.health.rss > 900.0"),
            ([], "unknown", "0 samples came in; 2 were needed"),
            ([100.0], "unknown", "1 samples came in; 2 were needed"),
        ],
    )
    def test_the_last_sample_decides_if_there_were_enough(
        self, samples: list[float], effect: str, because: str
    ) -> None:
        rule = builders.rule(expects=EXPECTS)
        loop = Loop(builders.intent(limits={"cooldown": "1h"}), builders.row(), rule)
        loop.acted()
        for number, rss in enumerate(samples):
            loop.measure(1_000 * (number + 1), rss)

        judged = loop.judged()

        assert (judged.effect, judged.because, judged.samples) == (effect, because, len(samples))

    def test_events_that_feed_no_row_are_no_samples(self) -> None:
        loop = Loop()
        loop.acted()

        loop.take(builders.event("service.seen", message_id="other"), 1_000)

        assert loop.row.watches[0].samples == 0

    def test_a_sample_that_the_expression_cannot_read_is_none(self) -> None:
        loop = Loop(
            builders.intent(), builders.row(fields={"load": {"last": "data.load"}}), builders.rule(expects=EXPECTS)
        )
        loop.acted()

        loop.measure(1_000, 1.0)

        assert loop.row.watches[0].samples == 0

    def test_two_actions_in_one_window_leave_both_unknown(self) -> None:
        loop = Loop()
        loop.acted(0)
        loop.acted(1_000)
        loop.measure(2_000, 100.0)
        loop.measure(2_001, 100.0)

        effects = loop.tick(11_000)

        assert [(effect.effect, effect.because) for effect in effects if isinstance(effect, Effect)] == [
            ("unknown", "another action fell into the same window")
        ] * 2

    def test_a_window_that_is_over_is_judged_before_a_late_event_is_counted(self) -> None:
        loop = Loop(builders.intent(limits={"cooldown": "1h"}), builders.row(), builders.rule(expects=EXPECTS))
        loop.acted()
        loop.measure(1_000, 300.0)
        loop.measure(1_001, 300.0)

        said = loop.measure(10_000, 100.0)

        assert [found.effect for found in said if isinstance(found, Effect)] == ["ineffective"]

    def test_one_window_too_many_judges_the_oldest_unknown(self) -> None:
        loop = Loop()
        for number in range(EFFECT_WATCHES_MAX + 1):
            loop.acted(number)

        (effect,) = [found for found in loop.measure(100, 1.0) if isinstance(found, Effect)]

        assert effect.because == f"more than {EFFECT_WATCHES_MAX} windows were open on the subject"
        assert len(loop.row.watches) == EFFECT_WATCHES_MAX

    def test_an_effect_names_its_command_and_is_one_round_on(self) -> None:
        loop = Loop()
        command = loop.acted()

        effect = loop.judged()

        assert effect.command_id == command.lineage.message_id
        assert effect.lineage.correlation_id == command.lineage.correlation_id
        assert trail_step(command.agent, WEB_1, command.intent) in effect.lineage.trail
        assert effect.lineage.hop_count > command.lineage.hop_count

    def test_an_effect_that_comes_back_is_heard_once_and_only_if_it_is_ours(self) -> None:
        loop = Loop()
        loop.acted()
        effect = loop.judged()
        assert [action.effect for action in loop.row.recent] == ["unknown"]

        loop.come_back(replace(effect, effect="effective"), 10_001)
        assert loop.notes == ("unmatched",)
        loop.come_back(effect, 10_002)
        assert loop.notes == ()
        loop.come_back(effect, 10_003)
        assert loop.notes == ("unmatched",)


class TestSlowAgents:
    SLOW = builders.agent("slow", "return ()", base="SlowAgent", reads=("health",))

    def loop(self) -> Loop:
        return Loop(builders.intent(context_age_max="10m"), builders.row(), self.SLOW)

    def asked(self, loop: Loop, at_ms: int = 0) -> list[Context]:
        return [found for found in loop.measure(at_ms, 1.0) if isinstance(found, Context)]

    def answer(self, context: Context, **decision: Any) -> Proposed:
        proposal = context.propose("restart_service", because="on reflection", **decision)
        return Proposed(
            lineage=context.lineage.child("proposed"),
            subject=context.subject.id,
            occurred_ms=context.now_ms,
            context_id=context.lineage.message_id,
            agent=context.agent,
            agent_version=context.agent_version,
            decisions=(proposal,),
        )

    def test_it_is_sent_one_context_of_a_subject_at_a_time(self) -> None:
        loop = self.loop()
        (context,) = self.asked(loop)

        assert self.asked(loop, 1) == []
        loop.come_back(self.answer(context), 2)
        assert len(self.asked(loop, 3)) == 1

    def test_its_answer_is_judged_on_the_row_as_it_is_then(self) -> None:
        loop = self.loop()
        (context,) = self.asked(loop)

        said = loop.come_back(self.answer(context), 5)

        assert [type(found) for found in said] == [Decision, Verdict, Command]
        assert isinstance(said[0], Decision)
        assert said[0].controls_revision == loop.controls.revision

    def test_its_answer_rests_on_the_event_that_it_was_shown_however_new_the_answer_is(self) -> None:
        loop = self.loop()
        (context,) = self.asked(loop)
        answer = self.answer(context)
        of_old = replace(answer.decisions[0], fact_ms=NOW_MS - 600_001)

        said = loop.come_back(replace(answer, decisions=(of_old,)), 5)

        assert [found.reasons[0].code for found in said if isinstance(found, Verdict)] == ["stale_event"]

    def test_an_answer_counts_once(self) -> None:
        loop = self.loop()
        (context,) = self.asked(loop)
        loop.come_back(self.answer(context), 5)

        assert loop.come_back(self.answer(context), 6) == []
        assert loop.notes == ("unmatched",)

    def test_an_answer_after_something_was_done_is_outdated(self) -> None:
        loop = Loop(builders.intent(), builders.row(), builders.rule(when="data.rss > 400.0"), self.SLOW)
        (context,) = self.asked(loop)
        loop.acted(1)

        said = loop.come_back(self.answer(context), 5)

        assert [found.reasons[0].code for found in said if isinstance(found, Verdict)] == ["outdated"]

    def test_a_condition_that_must_still_hold_is_read_on_the_row_of_that_moment(self) -> None:
        loop = self.loop()
        (context,) = self.asked(loop)
        loop.measure(1, 700.0)

        said = loop.come_back(self.answer(context, still_when="rows.health.rss < 5.0"), 5)

        assert [found.reasons[0].code for found in said if isinstance(found, Verdict)] == ["no_longer_holds"]

    @pytest.mark.parametrize(("again_ms", "contexts"), [(SLOW_ANSWER_MAX_MS - 1, 0), (SLOW_ANSWER_MAX_MS, 1)])
    def test_an_agent_that_never_answers_is_asked_again_after_a_while(self, again_ms: int, contexts: int) -> None:
        loop = self.loop()
        self.asked(loop)

        assert len(self.asked(loop, again_ms)) == contexts

    def test_once_something_was_done_to_the_subject_it_is_asked_anew_and_its_older_answer_is_superseded(self) -> None:
        loop = Loop(builders.intent(), builders.row(), builders.rule(when="data.rss > 400.0"), self.SLOW)
        (older,) = self.asked(loop)
        loop.acted(1)
        (newer,) = self.asked(loop, 2)

        late = loop.come_back(self.answer(older), 3)
        counts = loop.come_back(self.answer(newer), 4)

        assert [found.reasons[0].code for found in late if isinstance(found, Verdict)] == ["superseded"]
        assert [type(found) for found in counts] == [Decision, Verdict, Command]

    def test_the_answer_to_the_newer_context_may_come_first(self) -> None:
        loop = self.loop()
        (older,) = self.asked(loop)
        (newer,) = self.asked(loop, SLOW_ANSWER_MAX_MS)
        loop.come_back(self.answer(newer), SLOW_ANSWER_MAX_MS + 1)

        late = loop.come_back(self.answer(older), SLOW_ANSWER_MAX_MS + 2)
        again = loop.come_back(self.answer(older), SLOW_ANSWER_MAX_MS + 3)

        assert [found.reasons[0].code for found in late if isinstance(found, Verdict)] == ["superseded"]
        assert again == []

    def test_of_contexts_that_nobody_answers_a_few_are_remembered(self) -> None:
        loop = self.loop()
        contexts = [self.asked(loop, n * SLOW_ANSWER_MAX_MS)[0] for n in range(OPEN_CONTEXTS_MAX + 1)]

        assert len(loop.row.asked) == OPEN_CONTEXTS_MAX
        assert loop.come_back(self.answer(contexts[0]), len(contexts) * SLOW_ANSWER_MAX_MS) == []

    def test_an_agent_is_asked_about_a_subject_as_often_as_it_says_and_no_oftener(self) -> None:
        now_and_then = builders.agent("slow", "return ()", base="SlowAgent", asks_every_ms=60_000)
        loop = Loop(builders.intent(), builders.row(), now_and_then)
        (context,) = self.asked(loop)
        loop.come_back(self.answer(context), 10)

        assert self.asked(loop, 59_999) == []
        assert len(self.asked(loop, 60_000)) == 1

    def test_an_agent_that_hears_of_its_own_answers_does_not_go_round_for_ever(self) -> None:
        itself = builders.agent(
            "slow", "return ()", base="SlowAgent", listens_to=("service.measured", "decision.proposed")
        )
        loop, asked = Loop(builders.intent(), builders.row(), itself), 0
        contexts = self.asked(loop)
        while contexts and asked < 100:
            asked += 1
            # As `slow_agents` answers.
            answer = replace(self.answer(contexts[0]), decisions=(), lineage=contexts[0].lineage.returning("p", "step"))
            said = loop.come_back(answer, asked)
            contexts = [found for found in said if isinstance(found, Context)]

        assert asked == HOP_COUNT_MAX

    def test_an_agent_with_a_condition_is_asked_only_where_it_holds(self) -> None:
        gated = builders.agent("slow", "return ()", base="SlowAgent")
        found = builders.controls(builders.intent(), gated)
        gate = builders.EXPRESSIONS.compile("data.rss > 400.0")
        audience = Audience([replace(found.agents[0], gate=gate)], builders.EXPRESSIONS)

        def asked(data: dict[str, float]) -> int:
            return len(audience.slow(builders.EXPRESSIONS.scope({"data": data})))

        assert (asked({"rss": 500.0}), asked({"rss": 300.0}), asked({})) == (1, 0, 0)
