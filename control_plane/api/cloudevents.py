"""The CloudEvents HTTP binding: a request in structured, batch or binary mode as the events that it brings.

Pure. What was sent in JSON stays as it was sent, byte by byte, extensions included.
"""

import re
from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import unquote

import msgspec

from control_plane.errors import InvalidMessage

STRUCTURED: Final = "application/cloudevents+json"
BATCH: Final = "application/cloudevents-batch+json"
BATCH_EVENTS_MAX: Final = 1000

_JSON_TYPE = re.compile(r"[\w.+-]+/(?:json|[\w.-]+\+json)")
_ATTRIBUTE = re.compile(r"[a-z0-9]{1,64}")
_NUMBERS: Final = frozenset({"hopcount"})
_NOT_IN_HEADERS: Final = {"data": "the body", "datacontenttype": "the Content-Type header"}
_batch_decoder = msgspec.json.Decoder(list[msgspec.Raw])
_any_decoder = msgspec.json.Decoder()


def events_in(headers: Iterable[tuple[str, str]], body: bytes) -> list[bytes]:
    """Each event of a request as structured JSON bytes. Names of headers must be lower case. Raises InvalidMessage."""
    given = dict(headers)
    media_type, charset = _content_type(given.get("content-type", ""))
    if charset not in ("", "utf-8", "us-ascii"):
        raise _unsupported(f"the charset {charset!r} is not supported")
    if media_type == STRUCTURED:
        return [body]
    if media_type == BATCH:
        return _batch(body)
    if media_type.startswith("application/cloudevents"):
        raise _unsupported(f"the event format {media_type!r} is not supported")
    if any(name.startswith("ce-") for name in given):
        return [_binary(given, media_type, body)]
    raise _unsupported(f"{media_type or 'a request without a content type'} holds no CloudEvent")


def _content_type(text: str) -> tuple[str, str]:
    media_type, *parameters = text.split(";")
    charset = ""
    for parameter in parameters:
        name, _, value = parameter.strip().partition("=")
        if name.lower() == "charset":
            charset = value.strip('" ').lower()
    return media_type.strip().lower(), charset


def _batch(body: bytes) -> list[bytes]:
    try:
        elements = _batch_decoder.decode(body)
    except msgspec.ValidationError as exc:
        raise InvalidMessage(
            "json_broken", "the batch is no JSON array", cure=f"Send an array of events, or one as {STRUCTURED}."
        ) from exc
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise InvalidMessage(
            "json_broken", f"the batch is not JSON: {exc}", cure="Send a JSON array in UTF-8."
        ) from exc
    if len(elements) > BATCH_EVENTS_MAX:
        raise InvalidMessage(
            "batch_too_long",
            f"the batch has {len(elements)} events; at most {BATCH_EVENTS_MAX} are taken, and none of these was",
            cure="Send smaller batches.",
        )
    return [bytes(element) for element in elements]


def _binary(headers: dict[str, str], media_type: str, body: bytes) -> bytes:
    """Attributes from `ce-` headers, data from the body."""
    envelope: dict[str, Any] = {}
    for name, value in headers.items():
        if name.startswith("ce-"):
            attribute = name.removeprefix("ce-")
            envelope[attribute] = _attribute(attribute, value)
    if body:
        if not _JSON_TYPE.fullmatch(media_type):
            raise _unsupported(f"data of type {media_type!r} is not supported")
        _check_json(body)
        envelope |= {"datacontenttype": media_type, "data": msgspec.Raw(body)}
    return msgspec.json.encode(envelope)


def _attribute(name: str, value: str) -> str | int:
    place = _NOT_IN_HEADERS.get(name)
    if place or not _ATTRIBUTE.fullmatch(name):
        raise InvalidMessage(
            "attribute_invalid",
            f"the header ce-{name} is no CloudEvents attribute",
            field=f"ce-{name}",
            cure=f"Put it into {place}." if place else "Use lower-case letters and digits only.",
        )
    text = _decoded(name, value)
    if name not in _NUMBERS:
        return text
    try:
        return int(text)
    except ValueError as exc:
        raise InvalidMessage(
            "attribute_invalid", f"{name} is no whole number", field=name, cure="Send digits only, or leave it out."
        ) from exc


def _decoded(name: str, value: str) -> str:
    """A header's value: quotes taken off, then one round of percent-decoding."""
    if len(value) > 1 and value[0] == value[-1] == '"':
        value = re.sub(r"\\(.)", r"\1", value[1:-1])
    try:
        return unquote(value, errors="strict")
    except UnicodeDecodeError as exc:
        raise InvalidMessage(
            "attribute_invalid",
            f"the header ce-{name} is not percent-encoded UTF-8",
            field=name,
            cure="Percent-encode what is not printable ASCII.",
        ) from exc


def _check_json(body: bytes) -> None:
    """The body becomes a part of a larger text: it must be one value, so that it cannot bring attributes of its own."""
    try:
        _any_decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise InvalidMessage(
            "json_broken", f"data is not JSON: {exc}", field="data", cure="Send one JSON object in UTF-8."
        ) from exc


def _unsupported(detail: str) -> InvalidMessage:
    return InvalidMessage(
        "content_type_unsupported",
        f"{detail}; nothing was taken",
        field="Content-Type",
        cure=f"Send {STRUCTURED}, {BATCH}, or JSON data with ce- headers.",
    )
