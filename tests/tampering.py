"""Logs as somebody left them who wanted another story told: a bit turned, a number changed, an event gone.

A change is made record by record while a log is read, so the same hand works on every log. `ChangedLog` shows it to
whoever reads; `written_anew` makes a log on disk of it, with checksums that are right.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from pathlib import Path

from msgspec.structs import replace

from control_plane.adapters.embedded_log import Append, EmbeddedLog
from control_plane.catalogue import ControlSet
from control_plane.messages import topics
from control_plane.ports.backbone import Position, Record
from control_plane.ports.log_reader import LogReader
from control_plane.workspace.control_log import encode_item, encode_set

Change = Callable[[Record], Record | None]
"""What a record becomes; None takes it away."""


class ChangedLog:
    """A log with a change made to it (`ports.log_reader.LogReader`)."""

    def __init__(self, log: LogReader, change: Change) -> None:
        self._log = log
        self._change = change

    def partitions(self, topic: str) -> int:
        return self._log.partitions(topic)

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        return self._log.bounds(topic, partition)

    def committed_offset(self, group: str, topic: str, partition: int) -> int | None:
        return self._log.committed_offset(group, topic, partition)

    def read(self, topic: str, partition: int, offset: int = 0) -> Iterator[Record]:
        changed = (self._change(record) for record in self._log.read(topic, partition, offset))
        return (record for record in changed if record is not None and record.offset >= offset)

    def close(self) -> None:
        self._log.close()


def flipped(place: Position, at: int, bit: int = 0) -> Change:
    """One bit of one record's value is another."""

    def change(record: Record) -> Record:
        if _stands_at(record, place):
            value = bytearray(record.value)
            value[at] ^= 1 << bit
            return replace(record, value=bytes(value))
        return record

    return change


def with_hole(place: Position) -> Change:
    """One record is gone, and its offset with it."""
    return lambda record: None if _stands_at(record, place) else record


def without(place: Position) -> Change:
    """One record is gone, and those after it have moved up."""

    def change(record: Record) -> Record | None:
        if (record.topic, record.partition) != (place.topic, place.partition) or record.offset < place.offset:
            return record
        return None if record.offset == place.offset else replace(record, offset=record.offset - 1)

    return change


def carelessly_forged(topic: str, before: str, after: str) -> Change:
    """Wherever a topic's records say one thing, they say another; who keeps book of it was forgotten."""

    def change(record: Record) -> Record:
        if record.topic != topic:
            return record
        return replace(record, value=record.value.replace(before.encode(), after.encode()))

    return change


def forged(before: ControlSet, after: ControlSet) -> Change:
    """Other controls, of as many items, are what always was: in the items, the set, and where it was adopted."""
    now_called = {(item.kind, item.name): item for item in after.items}
    outputs = [(encode_item(was), encode_item(now_called[was.kind, was.name])) for was in before.items]
    outputs.append((encode_set(before), encode_set(after)))
    instead = {(was.topic, was.key): now for was, now in outputs}

    def change(record: Record) -> Record:
        if record.topic == topics.EVENTS and before.revision.encode() in record.value:
            return replace(record, value=record.value.replace(before.revision.encode(), after.revision.encode()))
        now = instead.get((record.topic, record.key))
        return record if now is None else replace(record, key=now.key, value=now.value)

    return change


def written_anew(log: LogReader, path: Path) -> Path:
    """What a log shows, as an embedded log at a path; offsets follow one another, append times are kept."""
    now_ms = 0
    with EmbeddedLog.open(path, now_ms=lambda: now_ms) as copy:
        for topic in (*topics.KEYED_BY_SUBJECT, *topics.CONTROLS):
            copy.create_topic(topic, partitions=log.partitions(topic))
            for partition in range(log.partitions(topic)):
                for recorded_ms, records in groupby(log.read(topic, partition), lambda record: record.recorded_ms):
                    now_ms = recorded_ms
                    copy.write([Append(topic, partition, one.key, one.value, one.headers) for one in records])
    return path


def flip_on_disk(path: Path, wanted: Iterable[bytes]) -> Path:
    """Turn a byte in a closed log's files, in the first of the wanted sequences that stands in one of them."""
    files = {file: file.read_bytes() for kind in ("*.sst", "*.log") for file in sorted((path / "rocksdb").glob(kind))}
    for sequence in wanted:
        for file, content in files.items():
            at = content.find(sequence)
            if at >= 0:
                file.write_bytes(content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :])
                return file
    raise AssertionError(f"the files of {path} hold none of what was to be changed")


def _stands_at(record: Record, place: Position) -> bool:
    return (record.topic, record.partition, record.offset) == (place.topic, place.partition, place.offset)
