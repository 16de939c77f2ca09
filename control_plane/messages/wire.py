"""Messages as CloudEvents 1.0 in structured JSON, and back.

One message gives one sequence of bytes, always the same: replay compares them. Decoding refuses what breaks the
envelope or our own schemas; a user's event types are judged by `control_plane.loop.intake`.
"""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from operator import attrgetter
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct

from control_plane.causality import Lineage
from control_plane.errors import InvalidMessage
from control_plane.messages.command import Command
from control_plane.messages.context import Context
from control_plane.messages.dead_letter import DeadLetter
from control_plane.messages.decision import Decision
from control_plane.messages.effect import Effect
from control_plane.messages.envelope import EVENT_BYTES_MAX as EVENT_BYTES_MAX  # part of the wire format
from control_plane.messages.envelope import Envelope, invalid, read_envelope, read_event_envelope
from control_plane.messages.event import DECISION_PROPOSED, EFFECT_JUDGED, OUTCOME_PREFIX, Event
from control_plane.messages.outcome import Outcome
from control_plane.messages.proposed import Proposed
from control_plane.messages.resolution import Resolution
from control_plane.messages.subject import Subject
from control_plane.messages.tool import Invocation, Learnt
from control_plane.messages.verdict import Verdict

Internal = Decision | Verdict | Command | Effect | Outcome | Proposed | DeadLetter | Resolution | Invocation | Learnt
M = TypeVar("M", Decision, Verdict, Command, Effect, Outcome, Proposed, DeadLetter, Resolution, Invocation, Learnt)

_TYPES: Final[dict[type, str]] = {
    Decision: "setpoint.decision",
    Verdict: "setpoint.verdict",
    Command: "setpoint.command",
    Effect: EFFECT_JUDGED,
    Outcome: OUTCOME_PREFIX,
    Proposed: DECISION_PROPOSED,
    DeadLetter: "setpoint.dead_letter",
    Resolution: "setpoint.resolution",
    Invocation: "tool.invoke",
    Learnt: "tool.result",
}
_ENVELOPE_FIELDS = ("lineage", "subject", "occurred_ms")


def schema_of(message_type: type) -> str:
    """The `dataschema` that messages of this type carry: a URN with the schema's version."""
    name = "dead_letter" if message_type is DeadLetter else message_type.__name__.lower()
    return f"urn:setpoint:schema:{name}:1"


def type_of(message_type: type) -> str:
    """The CloudEvents `type` that messages of this type carry; that of outcomes goes on with their status."""
    return _TYPES[message_type]


def _body_of(message_type: Any) -> type[Struct]:
    """The struct that stands in `data`: the message without what the envelope already says."""
    fields: list[Any] = []
    for field in msgspec.structs.fields(message_type):
        if field.name in _ENVELOPE_FIELDS:
            continue
        fields.append((field.name, field.type) if field.required else (field.name, field.type, field.default))
    return msgspec.defstruct(f"{message_type.__name__}Data", fields, frozen=True, kw_only=True)


_BODIES: Final[dict[type, type[Struct]]] = {message_type: _body_of(message_type) for message_type in _TYPES}
_BODY_FIELDS: Final = {t: tuple(f.name for f in msgspec.structs.fields(body)) for t, body in _BODIES.items()}
_BODY_VALUES: Final = {t: attrgetter(*fields) for t, fields in _BODY_FIELDS.items()}
_BODY_DECODERS: Final = {t: msgspec.json.Decoder(body) for t, body in _BODIES.items()}
_SCHEMAS: Final = {t: schema_of(t) for t in _TYPES}


class _ContextData(Struct, frozen=True, kw_only=True):
    agent: str
    agent_version: str
    now_ms: int
    event: Event
    rows: dict[str, dict[str, Any]]
    ages_ms: dict[str, int]
    live: tuple[str, ...]
    action_version: int
    digest: str


_CONTEXT_SCHEMA: Final = schema_of(Context)
_context_decoder = msgspec.json.Decoder(_ContextData)


TIMES_REMEMBERED_MAX = 1_024
"""Times that are not worked out again: all that follows from one record says the same one."""

_EPOCH: Final = datetime.fromtimestamp(0, UTC)
_encoder = msgspec.json.Encoder()


@lru_cache(maxsize=TIMES_REMEMBERED_MAX)
def utc(ms: int) -> datetime:
    """Milliseconds since the epoch as an aware datetime."""
    return _EPOCH + timedelta(milliseconds=ms)


def ms_of(when: datetime) -> int:
    """An aware datetime as milliseconds since the epoch, rounded down."""
    # In whole numbers: a timestamp as a float is off by a millisecond now and then.
    since = when - _EPOCH
    return since.days * 86_400_000 + since.seconds * 1000 + since.microseconds // 1000


def encode(message: Internal) -> bytes:
    """A message of the loop's own as CloudEvents JSON bytes."""
    kind = type(message)
    type_name = OUTCOME_PREFIX + message.status if isinstance(message, Outcome) else _TYPES[kind]
    body = dict(zip(_BODY_FIELDS[kind], _BODY_VALUES[kind](message), strict=True))
    return _encoder.encode(
        _enveloped(message.lineage, type_name, message.subject, utc(message.occurred_ms), _SCHEMAS[kind], body)
    )


def encode_event(event: Event) -> bytes:
    """An event as CloudEvents JSON bytes."""
    return _encoder.encode(
        _enveloped(event.lineage, event.type, event.subject, event.occurred_at, event.dataschema, event.data)
    )


def encode_context(context: Context) -> bytes:
    """A context as CloudEvents JSON bytes, for an agent that runs apart."""
    fields = {name: getattr(context, name) for name in _ContextData.__struct_fields__}
    when = utc(context.now_ms)
    return _encoder.encode(
        _enveloped(
            context.lineage, "setpoint.context", context.subject.id, when, _CONTEXT_SCHEMA, _ContextData(**fields)
        )
    )


def decode_context(raw: bytes) -> Context:
    """Bytes of `encode_context` as a context. Raises InvalidMessage."""
    envelope = read_envelope(raw)
    try:
        body = _context_decoder.decode(envelope.data)
    except (msgspec.DecodeError, msgspec.ValidationError) as exc:
        raise invalid("schema_broken", exc, prefix="data.") from exc
    fields = {name: getattr(body, name) for name in _ContextData.__struct_fields__ if name != "digest"}
    return Context(subject=Subject.parse(envelope.subject), **fields)


def _enveloped(
    lineage: Lineage, type_name: str, subject: str, time: datetime, dataschema: str | None, data: Any
) -> Envelope:
    return Envelope(
        specversion="1.0",
        id=lineage.message_id,
        source=lineage.source,
        type=type_name,
        subject=subject,
        time=time,
        datacontenttype="application/json",
        dataschema=dataschema,
        correlationid=lineage.correlation_id,
        causationid=lineage.causation_id,
        hopcount=lineage.hop_count,
        trail=",".join(lineage.trail) or None,
        traceparent=lineage.traceparent or None,
        data=data,
    )


def decode(raw: bytes, message_type: type[M]) -> M:
    """Bytes of the loop's own as a message of the type that the topic holds. Raises InvalidMessage."""
    envelope = read_envelope(raw)
    if envelope.dataschema != _SCHEMAS[message_type]:
        raise InvalidMessage(
            "schema_unknown",
            f"dataschema {envelope.dataschema!r} is not {_SCHEMAS[message_type]!r}",
            field="dataschema",
            cure="Read it with the version of Setpoint that wrote it.",
        )
    try:
        body = _BODY_DECODERS[message_type].decode(envelope.data)
    except (msgspec.DecodeError, msgspec.ValidationError) as exc:
        raise invalid("schema_broken", exc, prefix="data.") from exc
    fields = {name: getattr(body, name) for name in _BODY_FIELDS[message_type]}
    if envelope.time is None or envelope.time.tzinfo is None:
        raise InvalidMessage(
            "time_missing",
            "the message does not say when, with an offset from UTC",
            field="time",
            cure="Only Setpoint writes such messages; find out who wrote this one.",
        )
    return message_type(
        lineage=envelope.lineage(), subject=envelope.subject or "", occurred_ms=ms_of(envelope.time), **fields
    )


def decode_event(raw: bytes, recorded_ms: int) -> Event:
    """A record of `events.v1` as an event. Raises InvalidMessage with the field and the cure.

    `recorded_ms` is the record's append time; it stands in where the producer gave no `time`.
    """
    envelope = read_event_envelope(raw)
    return Event(
        lineage=envelope.lineage(),
        type=envelope.type,
        subject=envelope.subject or "",
        occurred_at=envelope.time or utc(recorded_ms),
        data=envelope.data or {},
        dataschema=envelope.dataschema,
    )


def outcome_of(event: Event) -> Outcome:
    """The outcome that an event of type `command.*` carries. Raises InvalidMessage."""
    return _from_event(event, Outcome)


def effect_of(event: Event) -> Effect:
    """The effect that an event of type `effect.judged` carries. Raises InvalidMessage."""
    return _from_event(event, Effect)


def proposed_of(event: Event) -> Proposed:
    """The proposal that an event of type `decision.proposed` carries. Raises InvalidMessage."""
    return _from_event(event, Proposed)


def _from_event(event: Event, message_type: type[M]) -> M:
    try:
        body = msgspec.convert(event.data, _BODIES[message_type])
    except msgspec.ValidationError as exc:
        raise invalid("schema_broken", exc, prefix="data.") from exc
    fields = {name: getattr(body, name) for name in _BODY_FIELDS[message_type]}
    return message_type(lineage=event.lineage, subject=event.subject, occurred_ms=ms_of(event.occurred_at), **fields)


def json_schemas() -> dict[str, dict[str, Any]]:
    """The JSON Schema of each internal message's `data`, by the `dataschema` that names it."""
    return {_SCHEMAS[t]: msgspec.json.schema(body) for t, body in _BODIES.items()}
