"""A person's wish that a command be not begun. It is an event of its subject, so that its flow tells of it."""

from typing import Annotated, Any, ClassVar, Final

import msgspec
from msgspec import Meta, Struct

from control_plane.causality import digest
from control_plane.messages.command import Command
from control_plane.messages.envelope import invalid
from control_plane.messages.event import CANCELLATION_REQUESTED, Event
from control_plane.messages.wire import utc

BECAUSE_CHARS_MAX: Final = 500


class Cancellation(Struct, frozen=True, kw_only=True):
    """Which command, who says so and why. `until_ms` is its deadline: after that nobody needs to be told."""

    SAYS: ClassVar[str] = "cancelled by "
    """How the reason begins."""

    command_id: Annotated[str, Meta(min_length=1)]
    by: str
    because: Annotated[str, Meta(max_length=BECAUSE_CHARS_MAX)]
    until_ms: int

    @property
    def reason(self) -> str:
        """What the outcome of the command says."""
        return f"{self.SAYS}{self.by}: {self.because}" if self.because else f"{self.SAYS}{self.by}"


def cancellation(command: Command, *, by: str, because: str) -> Cancellation:
    """A person's wish about a command."""
    return Cancellation(
        command_id=command.lineage.message_id,
        by=by,
        because=because[:BECAUSE_CHARS_MAX],
        until_ms=command.deadline_ms,
    )


def event_of(wish: Cancellation, command: Command, now_ms: int) -> Event:
    """The event that says it: the same person's second wish about a command has the same id, and is folded once."""
    lineage = msgspec.structs.replace(
        command.lineage.child("cancellation"),
        source=wish.by,
        message_id=digest("cancellation", wish.by, wish.command_id),
    )
    data: dict[str, Any] = msgspec.to_builtins(wish)
    return Event(
        lineage=lineage, type=CANCELLATION_REQUESTED, subject=command.subject, occurred_at=utc(now_ms), data=data
    )


def cancellation_of(event: Event) -> Cancellation:
    """What an event of type `cancellation.requested` says. Raises InvalidMessage."""
    try:
        return msgspec.convert(event.data, Cancellation)
    except msgspec.ValidationError as exc:
        raise invalid("schema_broken", exc, prefix="data.") from exc
