"""A fake owner for the contract suite: counts records per key in a row and puts out one message per record.

It keeps outputs in the row until they are acknowledged and puts them out again, byte-equal, when their input comes
again, as the real owner does; without that no backbone that is at least once can be judged.
"""

import asyncio
from collections.abc import Callable, Sequence

import msgspec

from control_plane.messages.topics import DECISIONS
from control_plane.ports.backbone import Commit, Output, Record, RowReader, RowWrite, Start


class Row(msgspec.Struct):
    """`applied` is the offset of the last record that was counted, `held` what is not yet acknowledged; both say
    something in the log's own `generation` only."""

    count: int = 0
    applied: int = -1
    held: list[tuple[int, bytes]] = []
    generation: int = 0


def encode(row: Row) -> bytes:
    return msgspec.msgpack.encode(row)


def decode(value: bytes) -> Row:
    return msgspec.msgpack.decode(value, type=Row)


def without_claims(records: Sequence[Record]) -> list[Record]:
    """What somebody appended; not what an owner did, to say that it is one."""
    return [record for record in records if not record.key.startswith(b"partition/")]


class Changed:
    """Lets a test wait until something has come true, without sleeping."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []

    def changed(self) -> None:
        for holds, future in self._waiting:
            if not future.done() and holds():
                future.set_result(None)

    async def until(self, holds: Callable[[], bool], timeout_s: float = 20.0) -> None:
        if holds():
            return
        future = asyncio.get_running_loop().create_future()
        self._waiting.append((holds, future))
        await asyncio.wait_for(future, timeout_s)


class CountingOwner(Changed):
    """Counts. Fails the test when a batch does not follow the one before it. Batches of claims alone are not kept."""

    def __init__(self) -> None:
        super().__init__()
        self.starts: dict[int, Start] = {}
        self.readers: dict[int, RowReader] = {}
        self.taken: list[Record] = []
        self.batches: list[tuple[int, int]] = []
        self.committed_batches: list[tuple[int, int]] = []
        self.next_committed: dict[int, int] = {}
        self.revoked_partitions: list[int] = []
        self.in_flight_seen_max = 0
        self._rows: dict[int, dict[bytes, Row]] = {}
        self._next: dict[int, int] = {}
        self._in_flight: dict[int, int] = {}
        self.gate = asyncio.Event()
        self.gate.set()

    async def assigned(self, partition: int, rows: RowReader, start: Start) -> None:
        assert partition not in self.readers, "a partition is revoked before it is assigned again"
        self.starts[partition] = start
        self.readers[partition] = rows
        self._rows[partition] = {}
        self._next[partition] = self.next_committed[partition] = start.next_offset
        self._in_flight[partition] = 0
        self.changed()

    async def take(self, partition: int, records: Sequence[Record]) -> Commit:
        self._follows(partition, records)
        if not without_claims(records):
            return self._commit(partition, records)
        self._in_flight[partition] += 1
        self.in_flight_seen_max = max(self.in_flight_seen_max, self._in_flight[partition])
        self.changed()
        await self.gate.wait()
        self.taken.extend(without_claims(records))
        self.batches.append((partition, records[0].offset))
        commit = self._commit(partition, records)
        self.changed()
        return commit

    def committed(self, partition: int, commit: Commit) -> None:
        self.next_committed[partition] = commit.next_offset
        if (partition, commit.batch_offset) in self.batches:
            self._in_flight[partition] -= 1
            self.committed_batches.append((partition, commit.batch_offset))
        for row in self._rows[partition].values():
            row.held = [held for held in row.held if held[0] >= commit.next_offset]
        self.changed()

    async def revoked(self, partition: int) -> None:
        del self.readers[partition]
        self.revoked_partitions.append(partition)
        self.changed()

    def row(self, partition: int, key: bytes) -> Row | None:
        """A row as the log has it."""
        value = self.readers[partition].get(key)
        return None if value is None else decode(value)

    def counts(self) -> dict[bytes, int]:
        """What the rows of every owned partition say."""
        return {key: decode(value).count for rows in self.readers.values() for key, value in rows.scan()}

    def _follows(self, partition: int, records: Sequence[Record]) -> None:
        offsets = [record.offset for record in records]
        first = self._next[partition]
        assert offsets == list(range(first, first + len(offsets))), (
            f"partition {partition}: {first} was next: {offsets}"
        )
        self._next[partition] = offsets[-1] + 1

    def _commit(self, partition: int, records: Sequence[Record]) -> Commit:
        outputs: list[Output] = []
        changed: dict[bytes, Row] = {}
        for record in without_claims(records):
            row = self._current(partition, record.key)
            if record.offset > row.applied:
                row.count += 1
                row.applied = record.offset
                row.held.append((record.offset, b"%s:%d:%d" % (record.key, row.count, record.offset)))
                changed[record.key] = row
            outputs += [
                Output(DECISIONS, record.key, value, partition) for at, value in row.held if at == record.offset
            ]
        return Commit(
            batch_offset=records[0].offset,
            rows=tuple(
                RowWrite(key, encode(row), encode(Row(row.count, row.applied, generation=row.generation)))
                for key, row in changed.items()
            ),
            outputs=tuple(outputs),
            next_offset=records[-1].offset + 1,
            mark=b"mark of %d" % records[-1].offset,
        )

    def _current(self, partition: int, key: bytes) -> Row:
        rows = self._rows[partition]
        if key not in rows:
            value = self.readers[partition].get(key)
            rows[key] = self._of_this_log(partition, Row() if value is None else decode(value))
        return rows[key]

    def _of_this_log(self, partition: int, row: Row) -> Row:
        generation = self.starts[partition].generation
        return row if row.generation == generation else Row(count=row.count, generation=generation)


class KeepingReader(Changed):
    """A group's reader that keeps what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: list[Record] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.raising: list[Exception] = []

    async def take(self, topic: str, partition: int, records: Sequence[Record]) -> None:
        await self.gate.wait()
        if self.raising:
            raise self.raising.pop(0)
        assert {(record.topic, record.partition) for record in records} == {(topic, partition)}
        self.taken.extend(without_claims(records))
        self.changed()
