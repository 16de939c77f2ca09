"""Recorded messages as the shapes that REST answers with. A record that is no message of ours is left out, and counted.

Only reads: nothing here decides anything.
"""

import logging
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar

import msgspec
from prometheus_client import CollectorRegistry, Counter

from control_plane.api import shapes
from control_plane.api.problems import ProblemError
from control_plane.errors import InvalidMessage
from control_plane.messages import Command, DeadLetter, Decision, Effect, Outcome, Verdict
from control_plane.messages.wire import M, decode, utc
from control_plane.ports.audit import Kept

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
_any: Final = msgspec.json.Decoder()


class Reader:
    """Turns what the audit store keeps into items."""

    def __init__(self, metrics: CollectorRegistry) -> None:
        self._unreadable = Counter(
            "setpoint_api_unreadable_messages_total",
            "Recorded messages that were left out of an answer because they could not be read.",
            ["topic"],
            registry=metrics,
        )

    def each(self, found: Iterable[Kept], shape: Callable[[Kept], _T]) -> list[_T]:
        """Every message that can be read, as an item."""
        items = []
        for kept in found:
            try:
                items.append(shape(kept))
            except InvalidMessage as exc:
                self.left_out(kept, exc.detail)
        return items

    def left_out(self, kept: Kept, why: str) -> None:
        """Count a message that cannot be read, and log where it is."""
        self._unreadable.labels(kept.message.topic).inc()
        _log.warning(
            "recorded message left out of an answer",
            extra={"sequence": kept.sequence, "topic": kept.message.topic, "reason": why},
        )


def readable(kept: Kept, shape: Callable[[Kept], _T]) -> _T:
    """One message that was asked for, as an item. Raises ProblemError when it cannot be read."""
    try:
        return shape(kept)
    except InvalidMessage as exc:
        raise ProblemError(
            500,
            "unreadable",
            f"what is recorded under {kept.message.message_id!r} cannot be read: {exc.detail}",
            "See it as it is with GET /v1/flows/{correlation_id}, or read it with the version that wrote it.",
            correlation_id=kept.message.correlation_id,
        ) from exc


def event(kept: Kept) -> shapes.EventItem:
    """An event."""
    body = _json(kept)
    return shapes.EventItem(**_recorded(kept), event=body if isinstance(body, dict) else None)


def message(kept: Kept) -> shapes.MessageItem:
    """Any message."""
    body = _json(kept)
    data = body.get("data") if isinstance(body, dict) else None
    return shapes.MessageItem(**_recorded(kept), type=kept.message.type, source=kept.message.source, data=data)


def decision(kept: Kept) -> shapes.DecisionItem:
    """A decision, without what followed from it."""
    return shapes.DecisionItem(**_recorded(kept), **_fields(kept, Decision), verdict=None)


def verdict(kept: Kept) -> shapes.VerdictItem:
    """A verdict, without what policy was asked."""
    return shapes.VerdictItem(**_recorded(kept), **_fields(kept, Verdict))


def verdict_detail(kept: Kept) -> shapes.VerdictDetail:
    """A verdict with what policy was asked."""
    return shapes.VerdictDetail(**_recorded(kept), **_fields(kept, Verdict))


def command(kept: Kept) -> shapes.CommandItem:
    """A command, without what came of it."""
    fields = _fields(kept, Command)
    return shapes.CommandItem(**_recorded(kept), **fields, deadline_at=utc(fields["deadline_ms"]), outcome=None)


def outcome(kept: Kept) -> shapes.OutcomeItem:
    """An outcome."""
    fields = _fields(kept, Outcome)
    begun_ms = fields["begun_ms"]
    return shapes.OutcomeItem(**_recorded(kept), **fields, begun_at=None if begun_ms is None else utc(begun_ms))


def effect(kept: Kept) -> shapes.EffectItem:
    """An effect."""
    return shapes.EffectItem(**_recorded(kept), **_fields(kept, Effect))


def dead_letter(kept: Kept) -> dict[str, Any]:
    """What a dead letter says; what was done about it stands elsewhere."""
    fields = _fields(kept, DeadLetter)
    where = {f"from_{name}": fields.pop(name) for name in ("topic", "partition", "offset")}
    record = fields.pop("record")
    return {**_recorded(kept), **where, **fields, "record_base64": record}


def _fields(kept: Kept, message_type: type[M]) -> dict[str, Any]:
    """What a message of ours says beside its envelope. Raises InvalidMessage."""
    found = decode(kept.message.body, message_type)
    fields = {
        name: getattr(found, name)
        for name in found.__struct_fields__
        if name not in ("lineage", "subject", "occurred_ms")
    }
    plain: dict[str, Any] = msgspec.to_builtins(fields)
    return plain


def _recorded(kept: Kept) -> dict[str, Any]:
    said = kept.message
    return {
        "sequence": kept.sequence,
        "id": said.message_id,
        "subject": said.subject,
        "occurred_at": utc(said.occurred_ms),
        "recorded_at": utc(said.recorded_ms),
        "correlation_id": said.correlation_id,
        "causation_id": said.causation_id,
        "topic": said.topic,
        "partition": said.partition,
        "offset": said.offset,
        "copies": kept.copies,
    }


def _json(kept: Kept) -> Any:
    try:
        return _any.decode(kept.message.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
