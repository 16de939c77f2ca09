"""An event that an agent failed on, shown to that agent once more. It is an event of its subject, so that it has its
place in the subject's order."""

from typing import Any

import msgspec
from msgspec import Struct

from control_plane.messages.dead_letter import DeadLetter
from control_plane.messages.envelope import invalid
from control_plane.messages.event import SHOWN_AGAIN, Event
from control_plane.messages.wire import decode_event, utc


class Showing(Struct, frozen=True, kw_only=True):
    """Which event, and to whom. What follows from it follows from the event: its ids are those that it would have had
    at first."""

    agent: str
    event: Event


def event_of(letter: DeadLetter, agent: str, now_ms: int) -> Event:
    """The event that says it: of one letter always the same, so that it is taken once. Raises InvalidMessage where the
    letter's record is no event."""
    event = decode_event(letter.record, letter.occurred_ms)
    if event.type == SHOWN_AGAIN:
        event = showing_of(event).event
    data: dict[str, Any] = msgspec.to_builtins(Showing(agent=agent, event=event))
    lineage = letter.lineage.child("shown_again")
    return Event(lineage=lineage, type=SHOWN_AGAIN, subject=event.subject, occurred_at=utc(now_ms), data=data)


def showing_of(event: Event) -> Showing:
    """What an event of type `event.shown_again` says. Raises InvalidMessage."""
    try:
        return msgspec.convert(event.data, Showing)
    except msgspec.ValidationError as exc:
        raise invalid("schema_broken", exc, prefix="data.") from exc
