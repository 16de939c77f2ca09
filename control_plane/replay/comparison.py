"""What a replay says against what was recorded, byte by byte.

The end of a log may not have been processed yet when it was read: what is missing there, with nothing recorded after
it, is counted as not yet processed and is no difference.
"""

from collections import defaultdict
from collections.abc import Iterable
from hashlib import blake2b

from msgspec.structs import replace

from control_plane.messages.wire import utc
from control_plane.ports.backbone import Output, Position
from control_plane.ports.log_reader import LogReader
from control_plane.replay.difference import DIFFERENCES_KEPT_MAX, Difference, Differences, Kind
from control_plane.replay.recorded import RecordedLog
from control_plane.replay.said import Said, said_in


class Comparison:
    """Fed with outputs in the order of their inputs, partition by partition."""

    def __init__(self, recorded: RecordedLog, reader: LogReader) -> None:
        self.replayed: dict[tuple[str, str], Said] = {}
        self.differences = Differences()
        self._recorded = recorded
        self._reader = reader
        self._missing: defaultdict[int, list[tuple[Said, bytes]]] = defaultdict(list)

    def take(self, partition: int, outputs: Iterable[Output], *, processed: bool) -> None:
        """Compare what follows from one batch of a partition. `processed` says that the live loop is known to have
        committed it."""
        for output in outputs:
            said = self._said(partition, output)
            if said.key not in self.replayed:
                self.replayed[said.key] = said
                self._compare(partition, said, output.value, processed)

    def finish(self) -> None:
        """All was replayed: what is on the log besides follows from nothing."""
        for found in self._recorded.messages.values():
            if found.said.ours and not found.replayed:
                self._add("extra", found.said, place=found.place)
            if found.unequal is not None:
                self._add("unequal_copies", found.said, place=found.place, other=self._value(found.unequal))
        for record in self._recorded.unreadable:
            said = Said(record.topic, record.partition, "?", utc(record.recorded_ms), b"")
            self._add("unreadable", said, place=Position(record.topic, record.partition, record.offset))

    def not_processed(self) -> list[Said]:
        """What is missing at the end of each partition."""
        return [said for missing in self._missing.values() for said, _ in missing]

    def _said(self, heard_in: int, output: Output) -> Said:
        """An output as something said. What is said to another subject stands wherever that one's key has put it."""
        said = said_in(output.topic, heard_in if output.partition is None else output.partition, output.value)
        assert said is not None, "the loop says only what it says"
        found = self._recorded.messages.get(said.key) if output.partition is None else None
        return said if found is None else replace(said, partition=found.said.partition)

    def _compare(self, heard_in: int, said: Said, value: bytes, processed: bool) -> None:
        found = self._recorded.messages.get(said.key)
        if found is None and not processed:
            missing = self._missing[heard_in]
            # All are counted, but the bytes of more than can be shown are not kept.
            missing.append((said, value if len(missing) < DIFFERENCES_KEPT_MAX else b""))
            return
        for earlier, its_value in self._missing.pop(heard_in, ()):
            self._add("missing", earlier, other=its_value)
        if found is None:
            self._add("missing", said, other=value)
            return
        found.replayed = True
        if not found.said.equals(said):
            self._add("different", said, place=found.place, other=value)

    def _add(self, kind: Kind, said: Said, *, place: Position | None = None, other: bytes | None = None) -> None:
        found = Difference(
            kind=kind,
            topic=said.topic,
            message_id=said.message_id,
            place=f"partition {place.partition}, offset {place.offset}" if place else f"partition {said.partition}",
            recorded=self._value(place) if place else None,
            other=other,
        )
        self.differences.add(said.order, found)

    def _value(self, place: Position) -> bytes:
        return next(iter(self._reader.read(place.topic, place.partition, place.offset))).value


def hash_of(said: Iterable[Said]) -> str:
    """One hash for a set of messages, however they were ordered and batched."""
    whole = blake2b(digest_size=16)
    for topic, message_id, partition, digest in sorted((s.topic, s.message_id, s.partition, s.digest) for s in said):
        whole.update(f"{topic}\x1f{message_id}\x1f{partition}\x1f".encode() + digest)
    return whole.hexdigest()
