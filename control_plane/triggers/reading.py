"""Bytes from outside as JSON values, within limits."""

from typing import Any

import msgspec

from control_plane.errors import InvalidMessage
from control_plane.messages.bounds import check_nesting

_decoder = msgspec.json.Decoder()


def json_value(raw: bytes, what: str) -> Any:
    """What the bytes hold. Raises InvalidMessage."""
    check_nesting(raw)
    try:
        return _decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise InvalidMessage("json_broken", f"{what} is not JSON: {exc}", cure="Send JSON in UTF-8.") from exc
