"""What is durable in memory: records, rows and committed offsets. It outlives every process that a test lets crash."""

from collections.abc import Callable, Iterator, Sequence

from aiokafka.partitioner import murmur2
from msgspec import Struct

from control_plane.errors import InvalidMessage, InvalidSettings
from control_plane.messages import topics
from control_plane.ports.backbone import BATCH_BYTES_MAX, RECORD_BYTES_MAX, Commit, Output, Position, Record, Start


class Committed(Struct, frozen=True):
    """A group's place in a partition, with its mark."""

    offset: int
    mark: bytes = b""


class MemoryLog:
    """Topics of partitions of records, and beside them the rows of each partition of `events.v1`.

    Append times are the log's own and never go back within a partition. It is a LogReader.
    """

    def __init__(self, now_ms: Callable[[], int], *, partitions: int = 1) -> None:
        """`partitions` is the count of every topic that is keyed by subject."""
        self._now_ms = now_ms
        self._records: dict[str, list[list[Record]]] = {}
        self.rows: list[dict[bytes, bytes]] = [{} for _ in range(partitions)]
        self.committed: dict[tuple[str, str, int], Committed] = {}
        self._listeners: list[Callable[[], None]] = []
        for topic in topics.KEYED_BY_SUBJECT:
            self._records[topic] = [[] for _ in range(partitions)]
        for topic in topics.CONTROLS:
            self._records[topic] = [[]]

    def append(self, outputs: Sequence[Output]) -> list[Position]:
        """Append records, in order, or none of them. Raises InvalidSettings, InvalidMessage."""
        for output in outputs:
            self._check(output)
        positions = [self._append(output) for output in outputs]
        for listener in tuple(self._listeners):
            listener()
        return positions

    def on_append(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call back after each append, until what is returned is called."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def start_of(self, group: str, partition: int) -> Start:
        """Where a partition of `events.v1` begins when it is taken."""
        committed = self.committed.get((group, topics.EVENTS, partition), Committed(0))
        before = self._records[topics.EVENTS][partition][committed.offset - 1] if committed.offset else None
        return Start(next_offset=committed.offset, mark=committed.mark, record_before=before)

    def committed_offset(self, group: str, topic: str, partition: int) -> int | None:
        """The next offset that a group wants, as it last committed it."""
        found = self.committed.get((group, topic, partition))
        return None if found is None else found.offset

    def fetch(
        self, topic: str, partition: int, offset: int, records_max: int, bytes_max: int = BATCH_BYTES_MAX
    ) -> list[Record]:
        """The next records from an offset on, at least one if there is any."""
        found = self._records[topic][partition][offset : offset + records_max]
        for count, record in enumerate(found):
            bytes_max -= len(record.key) + len(record.value)
            if bytes_max < 0 and count:
                return found[:count]
        return found

    def write(self, group: str, partition: int, commit: Commit) -> None:
        """The one write of a partition's owner, all at once."""
        for row in commit.rows:
            self.store(partition, row.key, row.released)
        self.append(commit.outputs)
        self.committed[group, topics.EVENTS, partition] = Committed(commit.next_offset, commit.mark)

    def store(self, partition: int, key: bytes, value: bytes) -> None:
        """One row; an empty value removes it."""
        if value:
            self.rows[partition][key] = value
        else:
            self.rows[partition].pop(key, None)

    def partitions(self, topic: str) -> int:
        """How many partitions a topic has; 0 when there is no such topic."""
        return len(self._records.get(topic, ()))

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """(offset of the first kept record, offset after the last one)."""
        return 0, len(self._records[topic][partition])

    def read(self, topic: str, partition: int, offset: int = 0) -> Iterator[Record]:
        """Records from an offset to the end as it is now, in order."""
        return iter(self._records[topic][partition][offset:])

    def close(self) -> None:
        """Nothing to let go of."""

    def _check(self, output: Output) -> None:
        partitions = self.partitions(output.topic)
        if not partitions:
            raise InvalidSettings(f"there is no topic {output.topic!r}. Nothing was appended.")
        if output.partition is not None and not 0 <= output.partition < partitions:
            raise InvalidSettings(f"{output.topic} has no partition {output.partition}. Nothing was appended.")
        if len(output.key) + len(output.value) > RECORD_BYTES_MAX:
            raise InvalidMessage(
                "record_too_large",
                f"A record for topic {output.topic} has {len(output.value)} bytes. Nothing was appended.",
                cure="Keep large payloads elsewhere and send a reference.",
            )

    def _append(self, output: Output) -> Position:
        topic = self._records[output.topic]
        partition = _partition_of(output.key, len(topic)) if output.partition is None else output.partition
        records = topic[partition]
        recorded_ms = max(self._now_ms(), records[-1].recorded_ms if records else 0)
        records.append(
            Record(
                topic=output.topic,
                partition=partition,
                offset=len(records),
                key=output.key,
                value=output.value,
                recorded_ms=recorded_ms,
            )
        )
        return Position(output.topic, partition, len(records) - 1)


def _partition_of(key: bytes, partitions: int) -> int:
    number: int = murmur2(key)
    return (number & 0x7FFFFFFF) % partitions
