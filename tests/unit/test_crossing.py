"""Decisions about another subject: proposed to that one's row, once each, and judged there with everything it knows."""

from collections.abc import Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from control_plane.causality.lineage import HOP_COUNT_MAX
from control_plane.errors import InvalidMessage
from control_plane.loop.arrival import Arrival
from control_plane.loop.crossing import ORIGINS_PER_ROW_MAX
from control_plane.loop.intake import check_event
from control_plane.loop.step import Ask, Done, step
from control_plane.messages import Command, Decision, Event, Proposed, Verdict
from control_plane.messages.proposed import Origin
from control_plane.messages.wire import decode_event, encode
from control_plane.sdk import Agent, Context, SlowAgent
from control_plane.sdk.testing import Loop, Refused
from state.rows import Row, decode_row, encode_row
from tests import builders
from tests.builders import NOW_MS, WEB_1

DB = "service/db"
CONTROLS = builders.controls(
    builders.intent(limits={"cooldown": "30s"}),
    builders.row(),
    builders.rule(propose={"subject": DB}),
)
HOT = {"rss": 500.0}


def stepped(event: Event, row: Row | None = None, *, partition: int = 0, generation: int = 0, offset: int = 7) -> Done:
    arrival = Arrival(event, offset, NOW_MS, partition=partition, generation=generation)
    result = step(CONTROLS, row or Row(subject=event.subject), arrival)
    while isinstance(result, Ask):
        result = result.resume({question.id: builders.allow(question) for question in result.questions})
    return result


def proposal(**place: int) -> Proposed:
    """What a rule on web-1 wants of the database."""
    [said] = stepped(builders.event(data=HOT, message_id=f"e{place.get('offset', 7)}"), **place).said
    assert isinstance(said, Proposed)
    return said


def arrived(proposed: Proposed) -> Event:
    return decode_event(encode(proposed), NOW_MS)


class TestTheWay:
    def test_nothing_is_decided_where_it_was_noticed(self) -> None:
        done = stepped(builders.event(data=HOT), partition=3, generation=2)

        [said] = done.said
        assert isinstance(said, Proposed)
        assert (said.subject, said.origin) == (DB, Origin(3, 2, 7, 0))
        assert done.row.live == ()

    def test_it_is_judged_on_the_other_subjects_row_and_commands_that_one(self) -> None:
        done = stepped(arrived(proposal()))

        decision, verdict, command = done.said
        assert isinstance(decision, Decision)
        assert isinstance(verdict, Verdict)
        assert isinstance(command, Command)
        assert (decision.subject, verdict.subject, command.subject) == (DB, DB, DB)
        assert verdict.answer == "allow"
        assert done.row.subject == DB
        assert len(done.row.live) == 1

    def test_all_guards_look_at_the_other_subjects_row(self) -> None:
        first = stepped(arrived(proposal(offset=7)))
        second = stepped(arrived(proposal(offset=8)), first.row)

        verdict = second.said[1]
        assert isinstance(verdict, Verdict)
        assert (verdict.answer, verdict.reasons[0].code) == ("deny", "already_live")

    def test_a_crossing_is_a_round_of_the_loop(self) -> None:
        event = builders.event(data=HOT)
        assert proposal().lineage.hop_count == 1
        tired = replace(event, lineage=replace(event.lineage, hop_count=HOP_COUNT_MAX))

        _, verdict = stepped(tired).said

        assert isinstance(verdict, Verdict)
        assert (verdict.answer, verdict.reasons[0].code) == ("deny", "hop_limit"), "it goes nowhere any more"


class TestOnceEach:
    def test_the_same_again_is_dropped(self) -> None:
        event = arrived(proposal())
        first = stepped(event)

        again = stepped(event, first.row, offset=20)

        assert (again.said, again.notes) == ((), ("duplicate",))

    def test_an_older_one_of_the_same_partition_is_dropped(self) -> None:
        older, newer = proposal(offset=7), proposal(offset=9)
        row = stepped(arrived(newer)).row

        assert stepped(arrived(older), row).notes == ("duplicate",)

    def test_one_of_another_partition_or_a_later_generation_is_not(self) -> None:
        row = stepped(arrived(proposal(offset=9))).row

        assert stepped(arrived(proposal(offset=3, partition=1)), row).notes == ()
        assert stepped(arrived(proposal(offset=3, generation=1)), row).notes == ()

    def test_several_of_one_record_are_told_apart(self) -> None:
        first = proposal()
        assert first.origin is not None
        second = replace(
            first,
            origin=replace(first.origin, n=1),
            decisions=(replace(first.decisions[0], lineage=first.lineage.child("another")),),
        )
        row = stepped(arrived(first)).row

        assert stepped(arrived(second), row).notes == ()

    def test_of_a_tick_the_rows_are_told_apart_in_their_order(self) -> None:
        a, b = Origin(0, 0, 7, 5, "service/a"), Origin(0, 0, 7, 0, "service/b")

        assert b.is_after(a)
        assert not a.is_after(b)
        assert Origin(0, 0, 8, 0).is_after(b)

    def test_a_row_keeps_so_many_partitions_apart_and_refuses_what_comes_from_more(self) -> None:
        full = Row(subject=DB, origins={n: Origin(n, 0, 0, 0) for n in range(ORIGINS_PER_ROW_MAX)})
        event = arrived(proposal(partition=ORIGINS_PER_ROW_MAX))

        done = stepped(event, full)
        _, verdict = done.said
        again = stepped(event, done.row)

        assert isinstance(verdict, Verdict)
        assert (verdict.answer, verdict.reasons[0].code) == ("deny", "origins_full")
        assert again.notes == ("duplicate",)
        assert stepped(arrived(proposal(offset=9, partition=3)), full).row.origins[3].offset == 9

    def test_what_a_row_keeps_of_it_is_small_and_comes_back_from_the_store(self) -> None:
        row = stepped(arrived(proposal(partition=3, generation=1))).row
        full = Row(subject=DB, origins={n: Origin(n, 3, 2**40, 7) for n in range(ORIGINS_PER_ROW_MAX)})

        assert decode_row(encode_row(row)) == row
        assert len(encode_row(full)) < 5_000


class TestWhoMaySpeakOfWhom:
    @pytest.mark.parametrize(
        ("changes", "code"),
        [
            ({"subject": "service/other"}, "proposal_foreign"),
            ({"agent": "somebody"}, "proposal_foreign"),
            ({"subject": "partition/0"}, "subject_reserved"),
        ],
    )
    def test_a_proposal_may_hold_only_its_own_agents_wish_for_its_own_subject(
        self, changes: dict[str, Any], code: str
    ) -> None:
        made = proposal()
        decision = replace(made.decisions[0], **changes)

        with pytest.raises(InvalidMessage) as refused:
            check_event(arrived(replace(made, decisions=(decision,))), NOW_MS, CONTROLS)

        assert refused.value.code == code

    def test_a_proposal_that_the_loop_has_made_is_let_in(self) -> None:
        assert check_event(arrived(proposal()), NOW_MS, CONTROLS).id == DB


INTENT = "intent: restart_service\nsubject_kind: service\nexecutor: dry_run\n"


class Neighbourly(Agent):
    name = "neighbourly"
    version = "1.0.0"
    listens_to = ("service.measured",)
    intents = ("restart_service",)

    def decide(self, context: Context) -> Sequence[Decision]:
        target = context.event.data["of"]
        return [context.propose("restart_service", because="its neighbour suffers", subject=target)]


class Thoughtful(SlowAgent):
    name = "thoughtful"
    version = "1.0.0"
    listens_to = ("service.measured",)
    intents = ("restart_service",)

    async def decide(self, context: Context) -> Sequence[Decision]:
        return [
            context.propose("restart_service", because="it suffers", nth=0),
            context.propose("restart_service", because="its neighbour suffers", subject=DB, nth=1),
        ]


class TestInAnAuthorsTest:
    def test_an_agent_proposes_for_another_subject(self) -> None:
        loop = Loop(Neighbourly(), declarations=[INTENT])

        loop.send("service.measured", WEB_1, {"of": DB})

        assert [command.subject for command in loop.commands] == [DB]

    def test_for_its_own_subject_by_name_nothing_crosses(self) -> None:
        loop = Loop(Neighbourly(), declarations=[INTENT])

        said = loop.send("service.measured", WEB_1, {"of": WEB_1})

        assert not [message for message in said if isinstance(message, Proposed)]
        assert [command.subject for command in loop.commands] == [WEB_1]

    def test_for_a_subject_of_a_kind_that_the_intent_is_not_for_it_is_denied(self) -> None:
        loop = Loop(Neighbourly(), declarations=[INTENT])

        loop.send("service.measured", WEB_1, {"of": "host/h1"})

        assert [(v.subject, v.answer, v.reasons[0].code) for v in loop.verdicts] == [
            ("host/h1", "deny", "subject_kind")
        ]

    @pytest.mark.parametrize("target", ["nobody", "partition/0", "service/" + "x" * 300])
    def test_for_what_is_no_subject_the_agent_has_failed(self, target: str) -> None:
        loop = Loop(Neighbourly(), declarations=[INTENT])

        with pytest.raises(Refused, match="agent_nonsense"):
            loop.send("service.measured", WEB_1, {"of": target})

    def test_a_slow_agents_answer_may_speak_of_its_own_subject_and_of_another(self) -> None:
        loop = Loop(Thoughtful(), declarations=[INTENT])

        loop.send("service.measured", WEB_1, {})

        assert sorted(command.subject for command in loop.commands) == [DB, WEB_1]


class TestRules:
    RULE = """
rule: noisy_neighbour
version: 1.0.0
on: service.measured
when: data.rss > 400.0
propose: {intent: restart_service, subject: "service/{data.neighbour}", because: "{subject.name} suffers"}
"""

    def test_a_rule_names_the_other_subject_by_what_the_event_says(self) -> None:
        loop = Loop(declarations=[self.RULE, INTENT])

        loop.send("service.measured", WEB_1, {"rss": 500.0, "neighbour": "db"})

        [command] = loop.commands
        assert command.subject == DB
        assert loop.decisions[0].because == "web-1 suffers"

    def test_where_the_event_does_not_say_whose_nothing_is_proposed_and_the_rule_has_failed(self) -> None:
        loop = Loop(declarations=[self.RULE, INTENT])

        with pytest.raises(Refused, match=r"\{data.neighbour\} is missing on this event"):
            loop.send("service.measured", WEB_1, {"rss": 500.0})

        assert not loop.commands

    def test_a_rule_that_waits_names_it_by_what_is_there_when_it_fires(self) -> None:
        waits = self.RULE.replace("{data.neighbour}", "db-of-{subject.name}") + "for: 5s\n"
        loop = Loop(declarations=[waits, INTENT])

        loop.send("service.measured", WEB_1, {"rss": 500.0})
        loop.wait("10s")

        assert [command.subject for command in loop.commands] == ["service/db-of-web-1"]
