"""The durable part of a simulated log: records, rows and committed offsets, with a fence in front of each partition.

It outlives every process. Append times are its own and never go back. It is a LogReader.
"""

from collections.abc import Callable, Iterator, Sequence
from zlib import crc32

from msgspec import Struct

from control_plane.errors import BackboneUnavailable, InvalidSettings
from control_plane.messages import topics
from control_plane.ports.backbone import BATCH_BYTES_MAX, LOOP_GROUP, Output, Position, Record, Start
from control_plane.simulation.trace import Trace

EPOCH_HEADER = "epoch"
"""Record header in which a partition's owner stamps its epoch."""

Place = tuple[str, int]
"""A topic and a partition."""


class Committed(Struct, frozen=True):
    """A group's place in a partition, with its mark."""

    offset: int
    mark: bytes = b""


class Rows:
    """The durable rows of one partition (`ports.backbone.RowReader`)."""

    def __init__(self, rows: dict[bytes, bytes]) -> None:
        self._rows = rows

    def get(self, key: bytes) -> bytes | None:
        """The row under a key, or None."""
        return self._rows.get(key)

    def scan(self) -> Iterator[tuple[bytes, bytes]]:
        """Every (key, row)."""
        return iter(list(self._rows.items()))


class SimulatedLog:
    """Topics of partitions of records. `now_ms` is the log's own clock."""

    def __init__(self, now_ms: Callable[[], int], trace: Trace, *, partitions: int) -> None:
        self.committed: dict[tuple[str, str, int], Committed] = {}
        self.epochs = [0] * partitions
        """How often each partition of `events.v1` was taken: what an older owner writes is refused."""
        self._now_ms = now_ms
        self._trace = trace
        self._records: dict[str, list[list[Record]]] = {
            topic: [[] for _ in range(partitions)] for topic in topics.KEYED_BY_SUBJECT
        }
        self.rows: list[dict[bytes, bytes]] = [{} for _ in range(partitions)]
        self._waiting: dict[Place, list[Callable[[], None]]] = {}

    def claim(self, partition: int) -> Start:
        """Take a partition: from here on its former owner can write nothing there."""
        self.epochs[partition] += 1
        committed = self.committed.get((LOOP_GROUP, topics.EVENTS, partition), Committed(0))
        records = self._records[topics.EVENTS][partition]
        known = 0 < committed.offset <= len(records)
        return Start(
            next_offset=committed.offset,
            mark=committed.mark,
            record_before=records[committed.offset - 1] if known else None,
            epoch=self.epochs[partition],
        )

    def check_fence(self, partition: int, epoch: int) -> None:
        """Raises BackboneUnavailable when somebody else has taken the partition since."""
        if epoch != self.epochs[partition]:
            raise BackboneUnavailable(
                f"partition {partition} was taken by another owner: epoch {epoch} is over, {self.epochs[partition]} "
                "holds. Nothing was written."
            )

    def append(self, outputs: Sequence[Output], epoch: int | None = None) -> list[Position]:
        """Append records, in order; an owner stamps its epoch."""
        headers = () if epoch is None else ((EPOCH_HEADER, str(epoch).encode()),)
        return [self._append(output, headers) for output in outputs]

    def store(self, partition: int, key: bytes, value: bytes) -> None:
        """One row; an empty value removes it."""
        self._trace.count("row", partition, key, crc32(value))
        if value:
            self.rows[partition][key] = value
        else:
            self.rows[partition].pop(key, None)

    def commit_offset(self, group: str, topic: str, partition: int, committed: Committed) -> None:
        """How far a group has come."""
        self._trace.count("offset", group, topic, partition, committed.offset)
        self.committed[group, topic, partition] = committed

    def fetch(self, topic: str, partition: int, offset: int, records_max: int) -> list[Record]:
        """The next records from an offset on, at least one if there is any."""
        found = self._records[topic][partition][offset : offset + records_max]
        left = BATCH_BYTES_MAX
        for count, record in enumerate(found):
            left -= len(record.key) + len(record.value)
            if left < 0 and count:
                return found[:count]
        return found

    def on_growth(self, topic: str, partition: int, tell: Callable[[], None]) -> None:
        """Tell once, when the next record is appended there."""
        self._waiting.setdefault((topic, partition), []).append(tell)

    def copied(self) -> "SimulatedLog":
        """As it is now, for a judge to read."""
        copy = SimulatedLog(self._now_ms, self._trace, partitions=len(self.rows))
        copy._records = {topic: [list(records) for records in found] for topic, found in self._records.items()}
        copy.rows = [dict(rows) for rows in self.rows]
        copy.committed = dict(self.committed)
        return copy

    def cut(self, partition: int, records: int) -> None:
        """Somebody took the last records of `events.v1` away, as a restored backup does."""
        found = self._records[topics.EVENTS][partition]
        del found[max(0, len(found) - records) :]

    def partition_of(self, key: bytes) -> int:
        """Where records with this key go."""
        return crc32(key) % len(self.rows)

    # What a LogReader does.

    def partitions(self, topic: str) -> int:
        """How many partitions a topic has; 0 when there is no such topic."""
        return len(self._records.get(topic, ()))

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """(offset of the first kept record, offset after the last one)."""
        return 0, len(self._records[topic][partition])

    def committed_offset(self, group: str, topic: str, partition: int) -> int | None:
        """The next offset that a group wants, as it last committed it."""
        found = self.committed.get((group, topic, partition))
        return None if found is None else found.offset

    def read(self, topic: str, partition: int, offset: int = 0) -> Iterator[Record]:
        """Records from an offset to the end as it is now, in order."""
        return iter(self._records[topic][partition][offset:])

    def close(self) -> None:
        """Nothing to let go of."""

    def _append(self, output: Output, headers: tuple[tuple[str, bytes], ...]) -> Position:
        topic = self._records.get(output.topic)
        if topic is None:
            raise InvalidSettings(f"there is no topic {output.topic!r}. Nothing was appended.")
        partition = self.partition_of(output.key) if output.partition is None else output.partition
        records = topic[partition]
        record = Record(
            topic=output.topic,
            partition=partition,
            offset=len(records),
            key=output.key,
            value=output.value,
            recorded_ms=max(self._now_ms(), records[-1].recorded_ms if records else 0),
            headers=headers,
        )
        records.append(record)
        self._trace.count("record", record.topic, partition, record.offset, record.recorded_ms, crc32(record.value))
        for tell in self._waiting.pop((output.topic, partition), ()):
            tell()
        return Position(record.topic, partition, record.offset)
