"""One partition of `events.v1` in the hands of one owner, with its write taken apart.

Each durable step is a call of its own, so that a test or a simulation can stop between any two of them.
"""

from collections import deque
from collections.abc import Iterator
from typing import Literal

from control_plane.adapters.memory.log import MemoryLog
from control_plane.messages import topics
from control_plane.ports.backbone import BATCH_RECORDS_MAX, BATCHES_IN_FLIGHT_MAX, LOOP_GROUP, Commit, Owner, Start

Order = Literal["atomic", "stepwise"]
"""How the one write becomes durable: all at once, or rows, then outputs, then the offset, as on Kafka."""


OWNER = "memory"
"""Who claims, in the claim's own words."""


class _InFlight:
    """A commit on its way: how many of its rows and outputs are durable."""

    def __init__(self, commit: Commit) -> None:
        self.commit = commit
        self.rows = 0
        self.outputs = 0

    def rows_left(self) -> bool:
        return self.rows < len(self.commit.rows)

    def outputs_left(self) -> bool:
        return self.outputs < len(self.commit.outputs)


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


class Lane:
    """Batches to the owner, its commits to the log. Dropping it without a word is a crash."""

    def __init__(self, log: MemoryLog, partition: int, owner: Owner, order: Order) -> None:
        self.partition = partition
        self._log = log
        self._owner = owner
        self._order = order
        self._start = Start(next_offset=0, mark=b"", record_before=None)
        self._next_offset = 0
        self._cut = False
        self._in_flight: deque[_InFlight] = deque()

    async def assign(self) -> None:
        """Claim the partition and hand it to its owner, where it was last committed. Raises ContinuityBroken."""
        epoch = self._log.claim(self.partition, OWNER)
        self._in_flight.clear()
        start = self._start = self._log.start_of(LOOP_GROUP, self.partition, epoch)
        self._next_offset = start.next_offset
        self._cut = False
        await self._owner.assigned(self.partition, Rows(self._log.rows[self.partition]), start)
        self._log.check_kept(topics.EVENTS, self.partition, start.next_offset)

    async def take(self, records_max: int = BATCH_RECORDS_MAX) -> bool:
        """Hand over the next batch; false when there is none, or too many are in flight. Raises ContinuityBroken."""
        if len(self._in_flight) >= (1 if self._cut else BATCHES_IN_FLIGHT_MAX):
            return False
        self._log.check_kept(topics.EVENTS, self.partition, self._next_offset)
        records = self._log.fetch(topics.EVENTS, self.partition, self._next_offset, records_max)
        if not records:
            return False
        commit = await self._owner.take(self.partition, records)
        self._cut = commit.next_offset <= records[-1].offset
        self._next_offset = commit.next_offset
        if commit.rows or commit.outputs or commit.next_offset > commit.batch_offset:
            self._in_flight.append(_InFlight(commit))
        else:
            assert self._in_flight, "with nothing in flight an owner takes something"
        return True

    def write(self, commit: Commit) -> None:
        """A commit that follows from no batch, whole."""
        self._log.write(self._start, self.partition, commit)

    def advance(self) -> bool:
        """The next durable step of the oldest commit; false when nothing is in flight."""
        if self._order == "atomic":
            return self._write_all()
        return self.write_row() or self.write_output() or self.write_offset()

    def write_row(self) -> bool:
        """One more row, in the order of the batches."""
        for found in self._in_flight:
            if found.rows_left():
                row = found.commit.rows[found.rows]
                self._log.store_of(self._start, self.partition, row.key, row.value)
                found.rows += 1
                return True
        return False

    def write_output(self) -> bool:
        """One more output: none before the rows of its own batch, none before those of earlier batches."""
        for found in self._in_flight:
            if found.rows_left():
                return False
            if found.outputs_left():
                self._log.append_of(self._start, self.partition, [found.commit.outputs[found.outputs]])
                found.outputs += 1
                return True
        return False

    def write_offset(self) -> bool:
        """The next offset and the mark, once all before them is durable."""
        oldest = self._in_flight[0] if self._in_flight else None
        if oldest is None or oldest.rows_left() or oldest.outputs_left():
            return False
        self._log.commit_of(self._start, self.partition, oldest.commit)
        self._tell_oldest()
        return True

    def _write_all(self) -> bool:
        if not self._in_flight:
            return False
        self._log.write(self._start, self.partition, self._in_flight[0].commit)
        self._tell_oldest()
        return True

    def _tell_oldest(self) -> None:
        self._owner.committed(self.partition, self._in_flight.popleft().commit)
