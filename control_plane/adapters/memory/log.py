"""What is durable in memory: records, rows and committed offsets. It outlives every process that a test lets crash."""

from collections.abc import Callable, Iterator, Sequence

from aiokafka.partitioner import murmur2
from msgspec import Struct

from control_plane.errors import ContinuityBroken, InvalidMessage, InvalidSettings, OwnerFenced
from control_plane.messages import topics
from control_plane.messages.owner_event import claim_of, next_epoch, own_subject
from control_plane.ports.backbone import (
    BATCH_BYTES_MAX,
    EPOCH_HEADER,
    LOOP_GROUP,
    RECORD_BYTES_MAX,
    Commit,
    Output,
    Position,
    Record,
    Start,
    WentOn,
)

Headers = tuple[tuple[str, bytes], ...]


class Committed(Struct, frozen=True):
    """A group's place in a partition, with its mark and the log's generation that the place is one of."""

    offset: int
    mark: bytes = b""
    generation: int = 0


class _Partition:
    """The kept records of one partition. `first` is the offset of the first one."""

    def __init__(self) -> None:
        self.first = 0
        self.records: list[Record] = []

    @property
    def next(self) -> int:
        return self.first + len(self.records)

    def at(self, offset: int) -> Record | None:
        return self.records[offset - self.first] if self.first <= offset < self.next else None

    def since(self, offset: int) -> list[Record]:
        return self.records[max(0, offset - self.first) :]


class MemoryLog:
    """Topics of partitions of records, and beside them the rows of each partition of `events.v1`.

    Append times are the log's own and never go back within a partition. It is a LogReader.
    """

    def __init__(self, now_ms: Callable[[], int], *, partitions: int = 1) -> None:
        """`partitions` is the count of every topic that is keyed by subject."""
        self._now_ms = now_ms
        self._records: dict[str, list[_Partition]] = {}
        self.rows: list[dict[bytes, bytes]] = [{} for _ in range(partitions)]
        self.committed: dict[tuple[str, str, int], Committed] = {}
        self.epochs: dict[int, int] = {}
        self.went_on: dict[int, WentOn] = {}
        self._listeners: list[Callable[[], None]] = []
        for topic in topics.KEYED_BY_SUBJECT:
            self._records[topic] = [_Partition() for _ in range(partitions)]
        for topic in topics.CONTROLS:
            self._records[topic] = [_Partition()]

    def append(self, outputs: Sequence[Output], headers: Headers = ()) -> list[Position]:
        """Append records, in order, or none of them. Raises InvalidSettings, InvalidMessage."""
        for output in outputs:
            self._check(output)
        positions = [self._append(output, headers) for output in outputs]
        for listener in tuple(self._listeners):
            listener()
        return positions

    def on_append(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call back after each append, until what is returned is called."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def claim(self, partition: int, owner: str) -> int:
        """Take a partition of `events.v1`; its former owner can write no more. Gives the epoch."""
        now_ms = self._now_ms()
        value = claim_of(partition, owner, now_ms)
        self.append([Output(topics.EVENTS, own_subject(partition).encode(), value, partition)])
        epoch = self.epochs[partition] = next_epoch(self.epochs.get(partition, 0), now_ms)
        return epoch

    def start_of(self, group: str, partition: int, epoch: int = 0) -> Start:
        """Where a partition of `events.v1` begins when it is taken. Raises ContinuityBroken."""
        place = (group, topics.EVENTS, partition)
        went_on = self.word_on(partition)
        committed = self.committed.get(place)
        if committed is None and self.rows[partition] and not went_on.generation:
            raise _only_rows(partition)
        committed = self.committed.setdefault(place, Committed(0))
        goes_on = went_on.generation > committed.generation
        next_offset = went_on.next_offset if goes_on else committed.offset
        return Start(
            next_offset=next_offset,
            mark=committed.mark,
            record_before=self._records[topics.EVENTS][partition].at(next_offset - 1),
            epoch=epoch,
            generation=went_on.generation,
        )

    def check_kept(self, topic: str, partition: int, next_offset: int) -> None:
        """Raises ContinuityBroken where the log does not hold what comes next."""
        first, end = self.bounds(topic, partition)
        if not first <= next_offset <= end:
            raise ContinuityBroken(
                f"{topic}/{partition}: offset {next_offset} must come next, the log holds {first} to {end}. Nothing "
                f"was taken. Restore the log, or say that it may go on: setpoint log continue --partition {partition}"
            )

    def word_on(self, partition: int) -> WentOn:
        """The last word of a person on a partition."""
        return self.went_on.get(partition, WentOn(partition=partition))

    def go_on(self, partition: int, from_offset: int | None) -> WentOn:
        """A person's word; see `ports.backbone.Backbone.go_on`."""
        first, end = self.bounds(topics.EVENTS, partition)
        if from_offset is not None and not first <= from_offset <= end:
            raise InvalidSettings(f"the log holds offsets {first} to {end}, not {from_offset}. Nothing was changed.")
        committed = self.committed.get((LOOP_GROUP, topics.EVENTS, partition))
        lost_beginning = committed is not None and first >= committed.offset
        next_offset = from_offset if from_offset is not None else first if lost_beginning else end
        generation = self.word_on(partition).generation + 1
        said = self.went_on[partition] = WentOn(partition=partition, generation=generation, next_offset=next_offset)
        return said

    def lose(self, topic: str, partition: int, *, below: int = 0, at_and_above: int | None = None) -> None:
        """What a fault does to a log: its beginning or its end is gone. Nothing is told of it."""
        kept = self._records[topic][partition]
        if at_and_above is not None:
            del kept.records[max(0, at_and_above - kept.first) :]
        if below > kept.first:
            kept.records = kept.since(below)
            kept.first = below

    def committed_offset(self, group: str, topic: str, partition: int) -> int | None:
        """The next offset that a group wants, as it last committed it."""
        found = self.committed.get((group, topic, partition))
        return None if found is None else found.offset

    def fetch(
        self, topic: str, partition: int, offset: int, records_max: int, bytes_max: int = BATCH_BYTES_MAX
    ) -> list[Record]:
        """The next records from an offset on, at least one if there is any."""
        found = self._records[topic][partition].since(offset)[:records_max]
        for count, record in enumerate(found):
            bytes_max -= len(record.key) + len(record.value)
            if bytes_max < 0 and count:
                return found[:count]
        return found

    def write(self, start: Start, partition: int, commit: Commit) -> None:
        """The one write of a partition's owner, all at once. Raises OwnerFenced, as the three that it consists of."""
        for row in commit.rows:
            self.store_of(start, partition, row.key, row.released)
        self.append_of(start, partition, commit.outputs)
        self.commit_of(start, partition, commit)

    def store_of(self, start: Start, partition: int, key: bytes, value: bytes) -> None:
        """One row of an owner."""
        self._must_own(start, partition)
        self.store(partition, key, value)

    def append_of(self, start: Start, partition: int, outputs: Sequence[Output]) -> None:
        """Outputs of an owner, with its epoch in their header."""
        self._must_own(start, partition)
        self.append(outputs, ((EPOCH_HEADER, str(start.epoch).encode()),))

    def commit_of(self, start: Start, partition: int, commit: Commit) -> None:
        """The next offset of an owner, and its mark."""
        self._must_own(start, partition)
        place = (LOOP_GROUP, topics.EVENTS, partition)
        self.committed[place] = Committed(commit.next_offset, commit.mark, start.generation)

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
        kept = self._records[topic][partition]
        return kept.first, kept.next

    def read(self, topic: str, partition: int, offset: int = 0) -> Iterator[Record]:
        """Records from an offset to the end as it is now, in order."""
        return iter(self._records[topic][partition].since(offset))

    def close(self) -> None:
        """Nothing to let go of."""

    def _must_own(self, start: Start, partition: int) -> None:
        epoch = self.epochs.get(partition, 0)
        if start.epoch != epoch:
            raise OwnerFenced(
                f"partition {partition} was taken by epoch {epoch}, this owner has epoch {start.epoch}. Nothing was "
                "written and this owner must stop."
            )

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

    def _append(self, output: Output, headers: Headers) -> Position:
        topic = self._records[output.topic]
        partition = _partition_of(output.key, len(topic)) if output.partition is None else output.partition
        kept = topic[partition]
        recorded_ms = max(self._now_ms(), kept.records[-1].recorded_ms if kept.records else 0)
        kept.records.append(
            Record(
                topic=output.topic,
                partition=partition,
                offset=kept.next,
                key=output.key,
                value=output.value,
                recorded_ms=recorded_ms,
                headers=headers,
            )
        )
        return Position(output.topic, partition, kept.next - 1)


def _partition_of(key: bytes, partitions: int) -> int:
    number: int = murmur2(key)
    return (number & 0x7FFFFFFF) % partitions


def _only_rows(partition: int) -> ContinuityBroken:
    return ContinuityBroken(
        f"partition {partition} has rows, and no offset is committed for it: the log was wiped and its rows were not. "
        "Nothing was taken. Restore the log, or say that it may go on: "
        f"setpoint log continue --partition {partition}"
    )
