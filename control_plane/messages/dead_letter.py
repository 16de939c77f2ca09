"""What could not be processed: the record, where it stood, and why. Nothing is lost.

A record that is given back to the loop carries the letter that it was, so that a letter that it becomes again follows
from the first.
"""

import re
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from msgspec import Struct

from control_plane.causality import Lineage, digest
from control_plane.causality.lineage import SOURCE
from control_plane.errors import InvalidMessage
from control_plane.messages.bounds import EVENT_BYTES_MAX

RECORD_BYTES_MAX: Final = EVENT_BYTES_MAX
"""How much of a record is kept in its dead letter: whatever could be an event is kept whole. Of the rest it holds the
beginning; the log itself still has it at the position named."""

REDRIVE_OF: Final = "redriveof"
"""A CloudEvents extension: flow and id of the letter that this record was before."""

_MARK: Final = re.compile(
    rb'\{(?P<time>"time":"[^"]*",)?"redriveof":"(?P<flow>[0-9a-f]{32})/(?P<letter>[0-9a-f]{32})",'
)


class Brought(Struct, frozen=True, kw_only=True):
    """What a trigger knew of a thing beside its bytes, so that it can be mapped once more. `identity` is what its
    event's id follows from where nothing else gives one. `beside` is None where it was too much to be kept; `as_value`
    names what was the thing itself."""

    identity: str
    beside: dict[str, Any] | None = None
    as_value: tuple[str, ...] = ()


class DeadLetter(Struct, frozen=True, kw_only=True):
    """One record, or one agent's failure on it. `record` is the beginning of the record, base64 on the wire; `brought`
    is there when a trigger could take it apart, and could make no event of it."""

    lineage: Lineage
    subject: str
    occurred_ms: int
    topic: str
    partition: int
    offset: int
    code: str
    detail: str
    field: str | None
    cure: str
    agent: str | None
    record: bytes
    record_bytes: int
    brought: Brought | None = None

    @property
    def is_whole(self) -> bool:
        """Whether it holds all of the record."""
        return len(self.record) == self.record_bytes

    @classmethod
    def of(
        cls,
        *,
        topic: str,
        partition: int,
        offset: int,
        recorded_ms: int,
        record: bytes,
        reason: InvalidMessage,
        subject: str = "",
        agent: str | None = None,
    ) -> "DeadLetter":
        """The dead letter of a record; the same record and reason always give the same one."""
        identity = digest("dead_letter", topic, str(partition), str(offset), agent or "")
        return cls(
            lineage=_lineage(identity, record),
            subject=subject or f"partition/{partition}",
            occurred_ms=recorded_ms,
            topic=topic,
            partition=partition,
            offset=offset,
            code=reason.code,
            detail=reason.detail,
            field=reason.field,
            cure=reason.cure,
            agent=agent,
            record=record[:RECORD_BYTES_MAX],
            record_bytes=len(record),
        )


def marked(record: bytes, letter: DeadLetter) -> bytes:
    """The record of a letter as it goes back: the same bytes, with the letter named in front, and with the time of its
    first arrival where it says no other: what is old must not look new. Where there is no room for that, or no JSON
    object, it goes as it is."""
    try:
        fields = _fields.decode(record)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return record
    if not fields:
        return record
    bare = unmarked(record).lstrip()
    if bytes(fields.get("time", b"")) == b"null":
        # The last of two keys counts, so this one must not stand behind ours.
        bare = msgspec.json.encode({name: value for name, value in fields.items() if name not in ("time", REDRIVE_OF)})
    mark = f'"{REDRIVE_OF}":"{letter.lineage.correlation_id}/{letter.lineage.message_id}",'.encode()
    whole = b"{" + _time_of(record, fields, letter) + mark + bare[1:]
    return whole if len(whole) <= EVENT_BYTES_MAX else record


def unmarked(record: bytes) -> bytes:
    """The record as it was sent."""
    found = _MARK.match(record)
    return b"{" + record[found.end() :] if found else record


_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


def _time_of(record: bytes, fields: dict[str, msgspec.Raw], letter: DeadLetter) -> bytes:
    """The time that is added, as it stands in JSON. One that was added before stays."""
    said, before = bytes(fields.get("time", b"null")), _MARK.match(record)
    if said == b"null":
        said = msgspec.json.encode(datetime.fromtimestamp(letter.occurred_ms / 1000, UTC))
    elif before is None or not before["time"]:
        return b""
    return b'"time":' + said + b","


def _lineage(identity: str, record: bytes) -> Lineage:
    """Of its own flow; or, of a record that was given back, in that of the letter that it was."""
    found = _MARK.match(record)
    if found is None:
        return Lineage.root(SOURCE, identity)
    flow, before = found["flow"].decode(), found["letter"].decode()
    return Lineage(source=SOURCE, message_id=identity, correlation_id=flow, causation_id=before)
