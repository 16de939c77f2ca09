"""Is an event from outside one that the loop may fold? The same checks as at intake, before it is on the log.

Beyond them it refuses what only Setpoint itself may say.
"""

from collections.abc import Sequence
from typing import Final

from control_plane.catalogue import Controls
from control_plane.causality.lineage import SOURCE
from control_plane.errors import InvalidMessage
from control_plane.loop.intake import check_event
from control_plane.messages import Event
from control_plane.messages.event import is_reserved
from control_plane.messages.wire import decode_event

_OWN_SUBJECT_KIND: Final = "partition/"
"""Subjects of Setpoint's own: what its ticks and adoptions are about."""


def admit_all(raws: Sequence[bytes], now_ms: int, controls: Controls) -> list[Event]:
    """All of them, or none: raises InvalidMessage for the first that is wrong, with its place in the batch."""
    events = []
    for n, raw in enumerate(raws):
        try:
            events.append(admit(raw, now_ms, controls))
        except InvalidMessage as exc:
            raise exc if len(raws) == 1 else _at(n, exc) from exc
    return events


def admit(raw: bytes, now_ms: int, controls: Controls) -> Event:
    """One event. Raises InvalidMessage."""
    event = decode_event(raw, now_ms)
    _check_not_ours(event)
    check_event(event, now_ms, controls)
    return event


def _check_not_ours(event: Event) -> None:
    if is_reserved(event.type):
        raise InvalidMessage(
            "type_reserved",
            f"only Setpoint itself publishes events of type {event.type!r}",
            field="type",
            cure="Choose another type.",
        )
    if event.lineage.source == SOURCE:
        raise InvalidMessage(
            "source_reserved",
            f"only Setpoint itself speaks as {SOURCE!r}",
            field="source",
            cure="Name the system that the event comes from.",
        )
    if event.subject.startswith(_OWN_SUBJECT_KIND):
        raise InvalidMessage(
            "subject_reserved",
            "subjects of the kind partition are Setpoint's own",
            field="subject",
            cure="Choose another kind.",
        )


def _at(n: int, exc: InvalidMessage) -> InvalidMessage:
    field = f"[{n}].{exc.field}" if exc.field else f"[{n}]"
    return InvalidMessage(exc.code, f"event {n} of the batch: {exc.detail}; none was taken", field=field, cure=exc.cure)
