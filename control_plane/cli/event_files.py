"""Events in a file: one, an array, or one a line. They are sent as they were written."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from control_plane.cli.exits import BAD_USAGE, FOUND_WRONG, CommandError

FILE_BYTES_MAX: Final = 256 * 1024 * 1024
BATCH_EVENTS_MAX: Final = 500
BATCH_BYTES_MAX: Final = 2 * 1024 * 1024
"""Both well below what a service takes."""

_raws = msgspec.json.Decoder(list[msgspec.Raw])
_any = msgspec.json.Decoder()


def read_events(file: str) -> list[bytes]:
    """Every event of a file, `-` for stdin. Raises CommandError with the line that is wrong."""
    text = _read(file)
    begins = text.lstrip()[:1]
    if begins == b"[":
        return _array(file, text)
    if begins == b"{":
        try:
            _any.decode(text)
            return [text.strip()]
        except msgspec.DecodeError:
            return _lines(file, text)
    raise CommandError(f"{file} holds no events: it begins neither with {{ nor with [. Nothing was sent.", FOUND_WRONG)


def one_event(**attributes: Any) -> bytes:
    """An event from options; `data` is JSON text. Raises CommandError."""
    data = attributes.pop("data")
    event = {"specversion": "1.0", **attributes}
    if data is not None:
        try:
            event["data"] = _any.decode(data)
        except msgspec.DecodeError as exc:
            raise CommandError(f"--data is not JSON ({exc}). Nothing was sent.", BAD_USAGE) from exc
    return msgspec.json.encode(event)


def batches(events: Sequence[bytes]) -> Iterator[list[bytes]]:
    """Events in batches that a service takes."""
    batch: list[bytes] = []
    size = 0
    for event in events:
        if batch and (len(batch) >= BATCH_EVENTS_MAX or size + len(event) > BATCH_BYTES_MAX):
            yield batch
            batch, size = [], 0
        batch.append(event)
        size += len(event)
    if batch:
        yield batch


def _read(file: str) -> bytes:
    try:
        if file == "-":
            text = sys.stdin.buffer.read(FILE_BYTES_MAX + 1)
        else:
            with Path(file).open("rb") as opened:
                text = opened.read(FILE_BYTES_MAX + 1)
    except OSError as exc:
        raise CommandError(f"{file} cannot be read ({exc.strerror}). Nothing was sent.", BAD_USAGE) from exc
    if len(text) > FILE_BYTES_MAX:
        raise CommandError(f"{file} has more than {FILE_BYTES_MAX} bytes. Nothing was sent. Split it.", BAD_USAGE)
    return text


def _array(file: str, text: bytes) -> list[bytes]:
    try:
        return [bytes(event) for event in _raws.decode(text)]
    except msgspec.DecodeError as exc:
        raise CommandError(f"{file} is not JSON ({exc}). Nothing was sent.", FOUND_WRONG) from exc


def _lines(file: str, text: bytes) -> list[bytes]:
    events = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            _any.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as exc:
            raise CommandError(f"{file}:{number}: not JSON ({exc}). Nothing was sent.", FOUND_WRONG) from exc
        events.append(line.strip())
    return events
