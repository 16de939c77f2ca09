"""People propose under the same rules as agents, and may take a command back that has not begun."""

from typing import Any

import pytest
from msgspec.structs import replace

from control_plane.catalogue import Controls
from control_plane.causality import Lineage
from control_plane.errors import InvalidMessage
from control_plane.loop.arrival import Arrival
from control_plane.loop.intake import admit, check_event
from control_plane.loop.step import Ask, Done, step
from control_plane.messages import Command, Decision, Event, Proposed, Verdict
from control_plane.messages.cancellation import cancellation, event_of
from control_plane.messages.event import DECISION_PROPOSED
from control_plane.messages.wire import decode_event, encode, encode_event
from state.rows import Row
from tests import builders
from tests.builders import NOW_MS, WEB_1

ADMIN = "person/admin"
CONTROLS = builders.controls(builders.intent(parameters={"type": "object", "additionalProperties": False}))


def wish(message_id: str = "p1", **changes: Any) -> Event:
    """What a person proposes, as it stands on the log."""
    lineage = Lineage.root(ADMIN, message_id)
    decision = Decision(
        **{
            "lineage": lineage.child(f"decision/{WEB_1}/{ADMIN}/0"),
            "subject": WEB_1,
            "occurred_ms": NOW_MS,
            "agent": ADMIN,
            "agent_version": "1",
            "intent": "restart_service",
            "parameters": {},
            "confidence": 1.0,
            "because": "it hangs",
            **changes,
        }
    )
    proposed = Proposed(
        lineage=lineage,
        subject=WEB_1,
        occurred_ms=NOW_MS,
        context_id="",
        agent=ADMIN,
        agent_version="1",
        decisions=(decision,),
    )
    return decode_event(encode(proposed), NOW_MS)


def stepped(
    event: Event,
    row: Row | None = None,
    *,
    offset: int = 7,
    answer: Any = builders.allow,
    controls: Controls = CONTROLS,
) -> Done:
    check_event(event, NOW_MS, controls)
    result = step(controls, row or Row(subject=WEB_1), Arrival(event, offset, NOW_MS))
    while isinstance(result, Ask):
        result = result.resume({question.id: answer(question) for question in result.questions})
    return result


def test_what_a_person_proposes_is_ruled_on_and_becomes_a_command() -> None:
    asked: list[Any] = []

    def allow(question: Any) -> Any:
        asked.append(question.input)
        return builders.allow(question)

    done = stepped(wish(), answer=allow)

    decision, verdict, command = done.said
    assert isinstance(decision, Decision)
    assert isinstance(verdict, Verdict)
    assert isinstance(command, Command)
    assert asked[0]["decision"]["agent"] == ADMIN, "policy is told who wants it"
    assert decision.controls_revision == CONTROLS.revision
    assert command.lineage.correlation_id == wish().lineage.correlation_id
    assert [live.agent for live in done.row.live] == [ADMIN]


def test_policy_may_deny_a_person() -> None:
    done = stepped(wish(), answer=builders.deny)

    assert [type(said) for said in done.said] == [Decision, Verdict]
    assert done.said[1].answer == "deny"  # type: ignore[union-attr]


def test_the_same_proposal_is_folded_once_however_often_it_is_delivered() -> None:
    first = stepped(wish())
    again = stepped(wish(), replace(first.row, live=()), offset=8)

    assert (again.said, again.notes) == ((), ("duplicate",))


def test_a_second_proposal_meets_the_guards_like_any_other() -> None:
    first = stepped(wish())
    second = stepped(wish("p2"), first.row, offset=8)

    assert second.said[1].reasons[0].code == "already_live"  # type: ignore[union-attr]


def test_a_person_is_not_outdated_by_what_was_done_before_but_by_what_must_still_hold() -> None:
    moved_on = Row(subject=WEB_1, action_version=7)

    assert stepped(wish(), moved_on).said[1].answer == "allow"  # type: ignore[union-attr]
    held = stepped(wish(still_when="rows.health.rss > 400.0"), moved_on)
    assert held.said[1].reasons[0].code == "no_longer_holds"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"intent": "reboot_everything"}, "intent_unknown"),
        ({"parameters": {"force": True}}, "parameters_invalid"),
        ({"still_when": "rows..x"}, "expression_invalid"),
        ({"occurred_ms": NOW_MS - 3_600_000}, "stale_context"),
    ],
)
def test_the_first_guards_hold_for_people_too(changes: dict[str, Any], code: str) -> None:
    done = stepped(wish(**changes))

    assert [type(said) for said in done.said] == [Decision, Verdict]
    assert done.said[1].reasons[0].code == code  # type: ignore[union-attr]


def test_an_agent_that_is_not_in_force_is_still_granted_nothing() -> None:
    raw = encode_event(wish()).replace(b"person/admin", b"memory_guard")

    done = stepped(decode_event(raw, NOW_MS))

    assert (done.said, done.notes) == ((), ("unmatched",)), "an agent's answer needs the context that was asked"


def a_command() -> Command:
    found = stepped(wish()).said[2]
    assert isinstance(found, Command)
    return found


def test_a_cancellation_is_an_event_of_its_subject_in_the_flow_of_the_command_and_is_folded_once() -> None:
    command = a_command()
    event = decode_event(
        encode_event(event_of(cancellation(command, by=ADMIN, because="wrong one"), command, 1)), NOW_MS
    )

    done = stepped(event)
    again = stepped(event, done.row, offset=8)

    assert (event.subject, event.lineage.source) == (WEB_1, ADMIN)
    assert (event.lineage.correlation_id, event.lineage.causation_id) == (
        command.lineage.correlation_id,
        command.lineage.message_id,
    )
    assert (done.said, done.notes) == ((), ())
    assert again.notes == ("duplicate",)


@pytest.mark.parametrize("event_type", [DECISION_PROPOSED, "cancellation.requested"])
def test_nobody_from_outside_may_speak_as_a_person(event_type: str) -> None:
    raw = encode_event(replace(wish(), type=event_type))

    with pytest.raises(InvalidMessage, match="only Setpoint itself publishes"):
        admit(raw, NOW_MS, CONTROLS)


def test_a_cancellation_that_names_no_command_is_not_folded() -> None:
    event = builders.event("cancellation.requested", {"by": ADMIN, "because": "", "until_ms": 1})

    with pytest.raises(InvalidMessage, match="command_id"):
        check_event(event, NOW_MS, CONTROLS)
