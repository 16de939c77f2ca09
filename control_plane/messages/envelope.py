"""The envelope of a CloudEvents 1.0 message in structured JSON: its fields and what they may hold.

Knows nothing of the messages inside; `wire` joins the two.
"""

import re
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from control_plane.causality import Lineage
from control_plane.causality.lineage import HOP_COUNT_MAX
from control_plane.errors import InvalidMessage
from control_plane.messages.bounds import EVENT_BYTES_MAX as EVENT_BYTES_MAX  # part of the envelope
from control_plane.messages.bounds import check_integers, check_nesting

MESSAGE_BYTES_MAX = 1024 * 1024
"""Largest message of the loop's own: a verdict holds its event and the rows that the agent read."""

IDENTIFIER_CHARS_MAX = 512
"""Longest id, source, type, correlation or causation: each message that follows repeats them."""

HOP_COUNT_READ_MAX = 65_535
TRAIL_CHARS_MAX = 9 * HOP_COUNT_MAX

_IDENTIFIERS = ("id", "source", "type", "subject", "correlationid", "causationid")
_CONTROL_CHARACTER = re.compile("[\x00-\x1f\x7f-\x9f]")
"""What CloudEvents forbids in text; digests of ids rely on it."""


class Envelope(Struct, kw_only=True, omit_defaults=True):
    """All that stands beside `data`; the last five before it are extensions of ours and of W3C's."""

    specversion: str
    id: str
    source: str
    type: str
    subject: str | None = None
    time: datetime | None = None
    datacontenttype: str | None = None
    dataschema: str | None = None
    correlationid: str | None = None
    causationid: str | None = None
    hopcount: int = 0
    trail: str | None = None
    traceparent: str | None = None
    data: Any = None
    data_base64: str | None = None

    def lineage(self) -> Lineage:
        """Who the message is and what it follows from."""
        root = Lineage.root(
            self.source, self.id, correlation_id=self.correlationid or "", traceparent=self.traceparent or ""
        )
        if self.causationid is None and not self.hopcount and not self.trail:
            return root
        return replace(
            root,
            causation_id=self.causationid,
            hop_count=self.hopcount,
            trail=tuple(self.trail.split(",")) if self.trail else (),
        )


class RawEnvelope(Envelope, kw_only=True):
    """The same with `data` as it stands, for whoever knows its type."""

    data: msgspec.Raw = msgspec.Raw(b"null")


_decoder = msgspec.json.Decoder(Envelope)
_raw_decoder = msgspec.json.Decoder(RawEnvelope)
_FIELD_IN_ERROR = re.compile(r"`\$\.?([A-Za-z0-9_.\[\]]*)`|field `(\w+)`")


def read_event_envelope(raw: bytes) -> Envelope:
    """The envelope of an event from anywhere, checked. Raises InvalidMessage with the field and the cure."""
    _check_size(raw, EVENT_BYTES_MAX)
    check_nesting(raw)
    envelope: Envelope = _decoded(raw, _decoder)
    _check_version(envelope)
    _check_identifiers(envelope)
    _check_causality(envelope)
    _check_time_and_data(envelope)
    return envelope


def read_envelope(raw: bytes) -> RawEnvelope:
    """The envelope of a message of the loop's own. Raises InvalidMessage."""
    _check_size(raw, MESSAGE_BYTES_MAX)
    envelope: RawEnvelope = _decoded(raw, _raw_decoder)
    return envelope


AS_DESCRIBED = "Send a CloudEvents 1.0 message as the schema describes it."


def invalid(code: str, exc: Exception, prefix: str = "", *, cure: str = AS_DESCRIBED) -> InvalidMessage:
    """What msgspec has found, with the field that it names."""
    found = _FIELD_IN_ERROR.search(str(exc))
    field = next((group for group in found.groups() if group), None) if found else None
    return InvalidMessage(
        code,
        str(exc),
        field=prefix + field if field else None,
        cure=cure,
    )


def _check_size(raw: bytes, bytes_max: int) -> None:
    if len(raw) > bytes_max:
        raise InvalidMessage(
            "too_large",
            f"the message has {len(raw)} bytes, more than {bytes_max}",
            cure="Keep large payloads elsewhere and send a reference.",
        )


def _decoded(raw: bytes, decoder: msgspec.json.Decoder[Any]) -> Any:
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError as exc:
        raise invalid("envelope_broken", exc) from exc
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise InvalidMessage(
            "json_broken", f"the message is not JSON: {exc}", cure="Send one JSON object in UTF-8."
        ) from exc


def _check_version(envelope: Envelope) -> None:
    if envelope.specversion != "1.0":
        raise InvalidMessage(
            "specversion_unknown",
            f"specversion {envelope.specversion!r} is not known",
            field="specversion",
            cure='Send CloudEvents "1.0".',
        )


def _check_identifiers(envelope: Envelope) -> None:
    for field in ("id", "source", "type"):
        if not getattr(envelope, field):
            raise InvalidMessage(f"{field}_missing", f"{field} is empty", field=field, cure="Give it a value.")
    together = (
        f"{envelope.id}{envelope.source}{envelope.type}"
        f"{envelope.subject or ''}{envelope.correlationid or ''}{envelope.causationid or ''}"
    )
    if len(together) > IDENTIFIER_CHARS_MAX or not together.isprintable():
        for field in _IDENTIFIERS:
            _check_identifier(field, getattr(envelope, field) or "")


def _check_identifier(field: str, text: str) -> None:
    if len(text) > IDENTIFIER_CHARS_MAX:
        raise InvalidMessage(
            f"{field}_too_long",
            f"{field} has {len(text)} characters, more than {IDENTIFIER_CHARS_MAX}",
            field=field,
            cure="Shorten it and keep details in data.",
        )
    if _CONTROL_CHARACTER.search(text):
        raise InvalidMessage(
            f"{field}_unprintable",
            f"{field} holds a control character: {text!r}",
            field=field,
            cure="Take control characters and line breaks out.",
        )


def _check_causality(envelope: Envelope) -> None:
    if not 0 <= envelope.hopcount <= HOP_COUNT_READ_MAX:
        raise InvalidMessage(
            "hopcount_invalid",
            f"hopcount is not between 0 and {HOP_COUNT_READ_MAX}",
            field="hopcount",
            cure="Leave it out on a first event.",
        )
    if len(envelope.trail or "") > TRAIL_CHARS_MAX:
        raise InvalidMessage(
            "trail_too_long",
            f"trail has more than {TRAIL_CHARS_MAX} characters",
            field="trail",
            cure="Leave it out on a first event.",
        )


def _check_time_and_data(envelope: Envelope) -> None:
    if envelope.time is not None and envelope.time.tzinfo is None:
        raise InvalidMessage(
            "time_naive",
            "time has no offset from UTC",
            field="time",
            cure="Write it as RFC 3339, as in 2026-01-31T12:00:00Z.",
        )
    if envelope.data_base64 is not None:
        raise InvalidMessage(
            "data_binary", "data_base64 is not supported", field="data_base64", cure="Send JSON in data."
        )
    if envelope.data is not None and not isinstance(envelope.data, dict):
        raise InvalidMessage("data_not_object", "data is not a JSON object", field="data", cure="Wrap it in an object.")
    check_integers(envelope.data)
