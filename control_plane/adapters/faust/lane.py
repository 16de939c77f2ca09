"""One assigned partition: fetched records in, whole batches out, in order and without a gap.

A lane never goes past a hole: it seeks back to what must come next, and gives up when it does not come. It knows
neither Kafka nor the embedded log; the hot path feeds it and it says when it has room.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from faust.types import TP
from msgspec import Struct

from control_plane.errors import ContinuityBroken
from control_plane.ports.backbone import BATCH_BYTES_MAX, BATCH_RECORDS_MAX, Record

BUFFER_RECORDS_MAX = 2 * BATCH_RECORDS_MAX
"""A lane asks for more while it holds less than one batch, so it never holds more than two, or than one and a fetch."""
GAPS_MAX = 3
"""How often a lane seeks back to the same offset before it says that the log no longer holds it."""
LAST_TAKE_S = 2.0
"""How long a revoked partition waits for the batch in its taker's hands; a group's rebalance waits for it."""

_log = logging.getLogger(__name__)


class Standing(Struct, frozen=True, kw_only=True):
    """Where a partition stands when it is assigned: what the group committed, with its mark and the log's generation
    that it is of, and what the log holds."""

    committed: int | None
    metadata: bytes
    first: int
    end: int
    generation: int = 0

    @property
    def next_offset(self) -> int:
        return self.committed or 0

    @property
    def holds_record_before(self) -> bool:
        return self.first <= self.next_offset - 1 < self.end

    @property
    def holds_next(self) -> bool:
        return self.first <= self.next_offset <= self.end


class Gate(Protocol):
    """What a lane asks of its consumer."""

    def open(self, tp: TP) -> None:
        """There is room: fetch from this partition."""

    def shut(self, tp: TP) -> None:
        """There is no room: leave this partition."""

    def seek_back(self, tp: TP, offset: int) -> None:
        """Fetch from this offset again."""


class LaneEnded(Exception):
    """The partition is being revoked: no further batch."""


class Lane:
    """The records of one partition on their way to whoever takes them. One task, from assignment to revocation."""

    def __init__(
        self,
        tp: TP,
        gate: Gate,
        *,
        next_offset: int,
        generation: int,
        dense: bool = True,
        failed: Callable[[BaseException], None],
        stopped: "Callable[[Lane, ContinuityBroken], None]",
    ) -> None:
        """`failed` is told what ends this process's part, `stopped` what only this partition waits for."""
        self.tp = tp
        self.generation = generation
        self._stopped = stopped
        self.first_offset = next_offset
        self.committed = self.noted = next_offset
        self.taking = False
        self._gate = gate
        self._failed = failed
        self._task: asyncio.Task[None] | None = None
        self._ending = False
        self._expected = next_offset
        self._dense = dense
        self._buffer: list[Record] = []
        self._buffer_bytes = 0
        self._fed = asyncio.Event()
        self._gaps = 0
        self._broken: ContinuityBroken | None = None

    @property
    def waiting(self) -> int:
        """Records that were fetched and not yet taken."""
        return len(self._buffer)

    def begin(self) -> None:
        self._task = asyncio.create_task(self._run(), name=f"{type(self).__name__} {self.tp.topic}/{self.tp.partition}")

    async def end(self) -> None:
        """Take no more. A batch in the taker's hands is waited for a moment, then broken off: it comes again."""
        task, self._task = self._task, None
        if task is None:
            return
        self._ending = True
        self._gate.shut(self.tp)
        self._fed.set()
        _, late = await asyncio.wait([task], timeout=LAST_TAKE_S)
        if late:
            task.cancel()
            await asyncio.wait([task])

    def feed(self, records: Sequence[Record]) -> None:
        """Take in what was fetched. Called by the hot path, never concurrently."""
        if not self._follows(records):
            self._seek_back(records[0].offset)
            return
        self._gaps = 0
        self._buffer.extend(records)
        self._buffer_bytes += _bytes_of(records)
        self._expected = records[-1].offset + 1
        if self._holds_a_batch():
            self._gate.shut(self.tp)
        self._fed.set()

    async def next_batch(self, records_max: int = BATCH_RECORDS_MAX) -> Sequence[Record]:
        """The next records, at least one, cut where their bytes pass the limit. Raises ContinuityBroken when the log no
        longer holds what must come."""
        while not self._buffer:
            self.go_on()
            if self._broken:
                raise self._broken
            self._fed.clear()
            await self._fed.wait()
        self.go_on()
        batch = self._first(records_max)
        self._buffer = self._buffer[len(batch) :]
        self._buffer_bytes -= _bytes_of(batch)
        if not self._holds_a_batch():
            self._gate.open(self.tp)
        return batch

    def hand_back(self, records: Sequence[Record]) -> None:
        """What was handed over and not taken: it comes first in the next batch."""
        self._buffer[:0] = records
        self._buffer_bytes += _bytes_of(records)
        if self._holds_a_batch():
            self._gate.shut(self.tp)

    def go_on(self) -> None:
        """Raises LaneEnded when there must be no further batch."""
        if self._ending:
            raise LaneEnded

    def _holds_a_batch(self) -> bool:
        return len(self._buffer) >= BATCH_RECORDS_MAX or self._buffer_bytes >= BATCH_BYTES_MAX

    def _first(self, records_max: int) -> list[Record]:
        batch = self._buffer[:records_max]
        if self._buffer_bytes <= BATCH_BYTES_MAX:
            return batch
        size_bytes = 0
        for count, record in enumerate(batch):
            size_bytes += len(record.key) + len(record.value)
            if count and size_bytes > BATCH_BYTES_MAX:
                return batch[:count]
        return batch

    async def _take_all(self) -> None:
        """Give batches to whoever takes them, until LaneEnded."""
        raise NotImplementedError

    async def _let_go(self) -> None:
        """What is under way may end; nothing is taken or written after this."""

    async def _run(self) -> None:
        try:
            await self._take_all()
        except LaneEnded:
            return
        except ContinuityBroken as broken:
            self._gate.shut(self.tp)
            await self._let_go()
            self._stopped(self, broken)
        except Exception as error:  # noqa: BLE001 - whatever the taker raises, nothing after it may be taken
            self._failed(error)

    def _follows(self, records: Sequence[Record]) -> bool:
        if not self._dense:
            return records[0].offset >= self._expected
        # Offsets rise within a fetch, so equal lengths leave no room for a hole.
        return records[0].offset == self._expected and records[-1].offset - self._expected == len(records) - 1

    def _seek_back(self, found: int) -> None:
        self._gaps += 1
        _log.warning("records out of order: fetched again", extra={"partition": self.tp, "found": found})
        if self._gaps > GAPS_MAX:
            self._broken = gone(self.tp, self._expected, found)
            self._gate.shut(self.tp)
            self._fed.set()
            return
        self._gate.seek_back(self.tp, self._expected)


def _bytes_of(records: Sequence[Record]) -> int:
    return sum([len(record.key) + len(record.value) for record in records])


def gone(tp: TP, expected: int, found: int) -> ContinuityBroken:
    return ContinuityBroken(
        f"{tp.topic}/{tp.partition}: offset {expected} must come next, the log goes on at {found}. Nothing after "
        "it was taken. Find out who wiped, cut or restored the log; restore it, or say that it may go on: "
        f"setpoint log continue --partition {tp.partition}"
    )
