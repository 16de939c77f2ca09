"""The executors role: commands into the ledger, then acts, then outcomes onto the log.

Called by a backbone (`take`) and by bootstrap (`start`, `stop`). A batch is safe once the ledger has it; everything
after that happens beside, across subjects, one at a time within a subject.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from control_plane.errors import InvalidMessage, LedgerUnavailable
from control_plane.executors.dispatch.acting import Acting, FaultPoint, Halted, Publish
from control_plane.executors.dispatch.bounds import DispatchBounds
from control_plane.executors.dispatch.counters import DispatchCounters
from control_plane.executors.dispatch.stage import Patience
from control_plane.loop.execution import outcome_of
from control_plane.messages import Command
from control_plane.messages.wire import decode
from control_plane.ports.backbone import EPOCH_HEADER, Record
from control_plane.ports.clock import Clock
from control_plane.ports.executor import Executor
from control_plane.ports.ledger import Ledger, Taking

LEASE_ROOM = 4
"""What waits in the ledger is leased when this part of memory is free, not one by one."""

DeadLetter = Callable[[Record, InvalidMessage], Awaitable[None]]

Introduce = Callable[[Command], Awaitable[None]]
"""Have the executor of a command at work, if its controls declare one: they may be newer or older than those here."""


def _no_fault(_name: str) -> None:
    """Nobody wants this process to die here."""


def _nothing_halted(_command: Command) -> str | None:
    return None


async def _introduce_nobody(_command: Command) -> None:
    """There are no other executors than those that are known."""


class Dispatch:
    """The group reader of the executors role (`ports.backbone.GroupReader`).

    `publish` appends outcomes to `events.v1`; `dead_letter` makes a record safe that is no command; `halted` says why a
    command must not be carried out, if so; `introduce` is asked for an executor that is not known, before its command
    is refused.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        executors: Mapping[str, Executor],
        clock: Clock,
        publish: Publish,
        dead_letter: DeadLetter,
        halted: Halted = _nothing_halted,
        introduce: Introduce = _introduce_nobody,
        fault_point: FaultPoint = _no_fault,
        bounds: DispatchBounds | None = None,
    ) -> None:
        self._introduce = introduce
        self.counters = DispatchCounters()
        self._bounds = bounds or DispatchBounds()
        self._ledger = ledger
        self._executors = executors
        self._clock = clock
        self._dead_letter = dead_letter
        self._fault_point = fault_point
        self._patience = Patience(clock, self._bounds, self.counters)
        self._acting = Acting(
            ledger=ledger,
            executors=executors,
            clock=clock,
            publish=publish,
            halted=halted,
            fault_point=fault_point,
            bounds=self._bounds,
            counters=self.counters,
            patience=self._patience,
            subject_free=self._subject_free,
        )
        self.failed: asyncio.Future[None] | None = None
        """Ends with the error that stopped dispatch, or without one when `stop` is done. None before `start`."""
        self._crowded = True  # The ledger holds commands that come before those of the next batch.
        self._crowdings = 0
        self._more = False  # Somebody's commands wait in the ledger for their subject, or for their time.
        self._sweep_now = asyncio.Event()
        self._stopping = False

    async def start(self) -> None:
        """Open the executors, announce the owner, and take up what earlier runs left behind."""
        self.failed = asyncio.get_running_loop().create_future()
        for executor in self._executors.values():
            await executor.start()
        await self._patience.until_done(lambda: self._ledger.start(self._clock.now_ms()))
        self._acting.start(self.failed)
        await self._patience.until_done(self._lease)
        self._acting.spawn(self._sweep_for_ever())
        self._acting.spawn(self._sweep_in_time())

    async def take(self, topic: str, partition: int, records: Sequence[Record]) -> None:
        """Make a batch safe in the ledger. Raises LedgerUnavailable: then the batch comes again."""
        assert self.failed is not None, "start comes first"
        if self.failed.done():
            self.failed.result()
        takings = [taking for record in records if (taking := await self._taking(record)) is not None]
        room = not self._crowded and not self._stopping and self._acting.held_count < self._bounds.held_max
        try:
            taken = await self._ledger.take(takings, now_ms=self._clock.now_ms(), lease=room)
        except LedgerUnavailable:
            self.counters.unavailable += 1
            self._crowd()  # Its answer may be lost: the next sweep finds out, before anything newer is leased.
            raise
        self._fault_point("ledger.taken")
        self.counters.taken += len(taken.leased) + taken.waiting
        self.counters.known += taken.known
        self.counters.stale += taken.stale
        if taken.waiting and not room:
            self._crowd()
        elif taken.waiting:
            self._more = True
        for entry in taken.leased:
            self._acting.admit(entry)

    def use(self, executors: Mapping[str, Executor]) -> None:
        """Change over to these executors, which were started, without a pause. Those that are the same object go on;
        others are stopped once what is under way on them has ended."""
        self._executors = executors
        self._acting.use(executors)

    def has_begun(self, command: Command) -> bool | None:
        """Whether an attempt at a command may have been made; None when that is not known in this process."""
        return self._acting.has_begun(command)

    async def stop(self) -> None:
        """Let attempts under way end, publish what came of them, and let go. To be called before the backbone stops."""
        self._stopping = True
        await self._acting.stop()
        try:
            await self._ledger.stop()
        except LedgerUnavailable:
            self.counters.unavailable += 1  # The lease runs out by itself.
        for executor in self._executors.values():
            await executor.stop()
        if self.failed is not None and not self.failed.done():
            self.failed.set_result(None)

    async def _taking(self, record: Record) -> Taking | None:
        try:
            command, epoch = decode(record.value, Command), _epoch(record)
        except InvalidMessage as invalid:
            self.counters.unreadable += 1
            await self._dead_letter(record, invalid)
            return None
        await self._meet(command)
        return Taking(command=command, body=record.value, partition=record.partition, offset=record.offset, epoch=epoch)

    def _crowd(self) -> None:
        self._crowded = True
        self._crowdings += 1
        self._sweep_now.set()

    def _subject_free(self) -> None:
        if self._more or self._crowded:
            self._sweep_now.set()

    async def _sweep_in_time(self) -> None:
        while True:
            self._sweep_now.set()
            await self._clock.sleep(self._bounds.sweep_s)
            await self._patience.until_done(lambda: self._ledger.renew(self._clock.now_ms()))
            self.counters.forgotten += await self._patience.until_done(self._prune)

    async def _sweep_for_ever(self) -> None:
        while True:
            await self._sweep_now.wait()
            self._sweep_now.clear()
            if not self._stopping:
                await self._patience.until_done(self._lease)
                await self._patience.until_done(self._adopt_outcomes)

    async def _lease(self) -> None:
        room = self._bounds.held_max - self._acting.held_count
        if room < self._bounds.held_max // LEASE_ROOM:
            return
        crowdings = self._crowdings
        leased = await self._ledger.lease(now_ms=self._clock.now_ms(), entries_max=room)
        self._more = leased.more
        self._crowded = len(leased.entries) >= room or crowdings != self._crowdings
        for entry in leased.entries:
            await self._meet(entry.command)
            self.counters.recovered += self._acting.admit(entry)

    async def _meet(self, command: Command) -> None:
        if command.executor not in self._executors:
            await self._introduce(command)

    async def _adopt_outcomes(self) -> None:
        outcomes_max = self._bounds.batch_max
        while True:
            pending = await self._ledger.pending(now_ms=self._clock.now_ms(), outcomes_max=outcomes_max)
            for finished in pending:
                self._acting.publish_again(outcome_of(finished.command, finished.conclusion))
            if len(pending) < outcomes_max:
                return

    async def _prune(self) -> int:
        before_ms = self._clock.now_ms() - int(self._bounds.keep_s * 1000)
        return await self._ledger.prune(before_ms=before_ms, entries_max=self._bounds.prune_entries_max)


def _epoch(record: Record) -> int:
    for name, value in record.headers:
        if name == EPOCH_HEADER:
            if value.isdigit():
                return int(value)
            raise InvalidMessage(
                "epoch_broken",
                f"the header {EPOCH_HEADER} is {value!r}",
                field=EPOCH_HEADER,
                cure="Only the loop writes commands.v1: see who else does.",
            )
    return 0
