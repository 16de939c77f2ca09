"""A request's body as what the route wants, or what is wrong with it."""

from typing import TypeVar

import msgspec

from control_plane.errors import InvalidMessage
from control_plane.messages.envelope import invalid

T = TypeVar("T")


def decoded(body: bytes, decoder: "msgspec.json.Decoder[T]") -> T:
    """The body, decoded. Raises InvalidMessage with the field that is wrong."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as exc:
        cure = "Send what /openapi.json describes for this route."
        raise invalid("schema_broken", exc, cure=cure) from exc
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise InvalidMessage(
            "json_broken", f"the body is not JSON: {exc}; nothing was changed", cure="Send one JSON object in UTF-8."
        ) from exc
