"""Every message of the log into the audit store, once. Reads all topics and judges nothing."""

from collections.abc import Sequence
from datetime import datetime

import msgspec
from msgspec import Struct

from control_plane.causality import digest
from control_plane.messages import topics
from control_plane.messages.wire import ms_of
from control_plane.ports.audit import Audit, RecordedMessage
from control_plane.ports.backbone import Record

RECORDED_TOPICS = topics.KEYED_BY_SUBJECT
GATHER_MS = 50
"""How long messages may be on their way to the store so that they come in larger batches: nothing waits for them but
people."""


class Recorder:
    """The group reader of the recorder role (`ports.backbone.GroupReader`)."""

    def __init__(self, audit: Audit) -> None:
        self.taken = 0
        """Records that were made safe, copies included."""
        self._audit = audit

    async def take(self, topic: str, partition: int, records: Sequence[Record]) -> None:
        """Store a batch. Raises AuditUnavailable: then the batch comes again."""
        await self._audit.append([recorded(record) for record in records])
        self.taken += len(records)


class _Envelope(Struct):
    """What a listing needs of any record; everything may be missing, because poison is recorded as well."""

    id: str | None = None
    source: str | None = None
    type: str | None = None
    subject: str | None = None
    time: str | None = None
    correlationid: str | None = None
    causationid: str | None = None


_decoder = msgspec.json.Decoder(_Envelope)


def recorded(record: Record) -> RecordedMessage:
    """A record as it is listed. One that is no message is named by its position."""
    envelope = _envelope(record)
    source = envelope.source or ""
    message_id = envelope.id or digest(record.topic, str(record.partition), str(record.offset))
    return RecordedMessage(
        message_id=message_id,
        source=source,
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        type=envelope.type or "",
        subject=envelope.subject or record.key.decode(errors="replace"),
        correlation_id=envelope.correlationid or digest(source, message_id),
        causation_id=envelope.causationid,
        occurred_ms=_occurred_ms(envelope, record),
        recorded_ms=record.recorded_ms,
        body=record.value,
    )


def _envelope(record: Record) -> _Envelope:
    try:
        return _decoder.decode(record.value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _Envelope()


def _occurred_ms(envelope: _Envelope, record: Record) -> int:
    try:
        when = datetime.fromisoformat(envelope.time or "")
        return ms_of(when) if when.tzinfo else record.recorded_ms
    except ValueError:
        return record.recorded_ms
