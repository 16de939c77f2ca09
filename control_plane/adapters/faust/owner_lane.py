"""A partition of `events.v1` that this process owns: batches to the owner, its commits to the log.

The next batch is taken while the commits before it are on their way, `BATCHES_IN_FLIGHT_MAX` at most.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

from faust.types import TP

from control_plane.adapters.faust.fault_points import fault_point
from control_plane.adapters.faust.lane import Gate, Lane, LaneEnded, Standing, gone
from control_plane.errors import ContinuityBroken
from control_plane.ports.backbone import BATCHES_IN_FLIGHT_MAX, Commit, Owner, Record, RowReader, Start

LAST_COMMITS_S = 2.0
"""How long a revoked partition waits for commits on their way; a group's rebalance waits for it."""


MARK_BYTES_MAX = 3_000
"""Kafka keeps it as offset metadata, of which it takes 4096 characters."""


RECORDS_OF_A_CLAIM = 2
"""In the changelog: the first one shuts the former owner out, the second one says the epoch."""


class OwnedRows(RowReader, Protocol):
    """The rows of a partition that is ours."""

    def changelog_offset(self) -> int | None:
        """The last changelog record that is in them."""


class Superseded(Exception):
    """The group gave the partition to somebody else; what was not committed is delivered again there."""


class CommitLine(Protocol):
    """Writes the commits of one partition, in order."""

    async def begin(self) -> None:
        """Commit offset 0, which follows from nothing."""

    def submit(self, commit: Commit) -> "asyncio.Future[None]":
        """Begin to write; the future is done when the commit is durable, in the order of submission."""

    async def close(self, timeout_s: float) -> None:
        """Let what was submitted end, or drop it; nothing is written after this returns."""


class OwnerLane(Lane):
    """Runs as one task from assignment to revocation."""

    def __init__(
        self,
        tp: TP,
        gate: Gate,
        standing: Standing,
        *,
        owner: Owner,
        rows: OwnedRows,
        line: CommitLine,
        epoch: int,
        generation: int,
        failed: Callable[[BaseException], None],
        stopped: Callable[[Lane, ContinuityBroken], None],
    ) -> None:
        super().__init__(
            tp,
            gate,
            next_offset=standing.next_offset - standing.holds_record_before,
            generation=generation,
            failed=failed,
            stopped=stopped,
        )
        self._epoch = epoch
        self.committed = self.noted = standing.next_offset
        self._standing = standing
        self._owner = owner
        self._rows = rows
        self._line = line
        self._slots = asyncio.Semaphore(BATCHES_IN_FLIGHT_MAX)
        self._assigned = False

    async def end(self) -> None:
        """Take no more, let commits end, and tell the owner."""
        await super().end()
        await self._let_go()

    async def _let_go(self) -> None:
        await self._line.close(LAST_COMMITS_S)
        if self._assigned:
            self._assigned = False
            await self._owner.revoked(self.tp.partition)

    def submit(self, commit: Commit) -> "asyncio.Future[None]":
        """Write a commit behind those already on their way."""
        assert len(commit.mark) <= MARK_BYTES_MAX, "a mark fits into what Kafka keeps beside an offset"
        self.noted = max(self.noted, commit.next_offset)
        written = self._line.submit(commit)
        written.add_done_callback(lambda done: self._written(done, commit.next_offset))
        return written

    async def _take_all(self) -> None:
        self._check_rows()
        self._gate.open(self.tp)
        start = await self._start()
        self._assigned = True
        await self._owner.assigned(self.tp.partition, self._rows, start)
        if not self._standing.holds_next:
            raise gone(self.tp, self._standing.next_offset, self._standing.end)
        if self._standing.committed is None:
            # From here on there is an offset wherever there are rows: without one, rows tell of a log that was wiped.
            await self._begin_line()
        while True:
            batch = await self.next_batch()
            await self._slots.acquire()
            self.go_on()
            self.taking = True
            commit = await self._owner.take(self.tp.partition, batch)
            self.taking = False
            fault_point("take.after")
            assert commit.batch_offset == batch[0].offset, "a commit names the batch that it follows from"
            assert batch[0].offset <= commit.next_offset <= batch[-1].offset + 1, "a commit is of its own batch"
            written = self.submit(commit)
            written.add_done_callback(lambda _: self._slots.release())
            if commit.next_offset <= batch[-1].offset:
                self.hand_back(batch[commit.next_offset - commit.batch_offset :])
                # Commits become durable in their order, so this one is the last in flight.
                await asyncio.wait([written])

    async def _begin_line(self) -> None:
        try:
            await self._line.begin()
        except Superseded as superseded:
            raise LaneEnded from superseded

    async def _start(self) -> Start:
        before: Record | None = None
        if self._standing.holds_record_before:
            before = (await self.next_batch(records_max=1))[0]
        return Start(
            next_offset=self._standing.next_offset,
            mark=self._standing.metadata,
            record_before=before,
            epoch=self._epoch,
            generation=self.generation,
        )

    def _check_rows(self) -> None:
        """Rows and offset stand or fall together. Raises ContinuityBroken where only one of them is there."""
        if self._standing.committed is None and next(self._rows.scan(), None) is not None:
            raise _only_one(self.tp, "there are rows of it and no committed offset: log or group was wiped")
        # The claim's own records are the first two of a changelog that was empty.
        if self._standing.next_offset and (self._rows.changelog_offset() or 0) < RECORDS_OF_A_CLAIM:
            raise _only_one(self.tp, f"offset {self._standing.next_offset} is committed, and its rows are gone")

    def _written(self, written: "asyncio.Future[None]", next_offset: int) -> None:
        if written.cancelled():
            return
        error = written.exception()
        if error is None:
            self.committed = max(self.committed, next_offset)
        else:
            self._ending = True
        if error is not None and not isinstance(error, Superseded):
            self._failed(error)


def _only_one(tp: TP, what: str) -> ContinuityBroken:
    return ContinuityBroken(
        f"{tp.topic}/{tp.partition}: {what}. Nothing of it was taken. Find out who deleted what; restore it, or say "
        f"that the partition may go on with what is there: setpoint log continue --partition {tp.partition}"
    )
