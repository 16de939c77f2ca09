"""One partition of `events.v1` in the hands of one simulated process: batches in, commits out, three of them at once.

Its rows are a copy of its own, as on a worker's disk: a process that was paused does not see what its heir writes.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from control_plane.messages import topics
from control_plane.ports.backbone import BATCHES_IN_FLIGHT_MAX, LOOP_GROUP, Commit, Owner, Record, RowWrite, Start
from control_plane.simulation.event_loop import Process
from control_plane.simulation.log import Committed, Rows, SimulatedLog
from control_plane.simulation.plan import Order
from control_plane.simulation.wire import Wire

ROWS_PER_CALL = 2
"""So that a process can die between the rows of one commit."""

OUTPUTS_PER_CALL = 3

Stage = Callable[[Commit], Coroutine[Any, Any, None]]


class OwnedPartition:
    """Runs until stopped, or until a write fails: then whoever runs it must give the partition up."""

    def __init__(
        self,
        partition: int,
        owner: Owner,
        *,
        process: Process,
        log: SimulatedLog,
        wire: Wire,
        order: Order,
        batch_records: int,
    ) -> None:
        self._partition = partition
        self._owner = owner
        self._process = process
        self._log = log
        self._wire = wire
        self._order = order
        self._batch_records = batch_records
        self._rows: dict[bytes, bytes] = {}
        self._epoch = 0
        self._next_offset = 0
        self._cut = False
        self._in_flight: deque[Commit] = deque()
        self._moved = asyncio.Event()
        self._stopping = False
        self._failed: BaseException | None = None

    def stop(self) -> None:
        """Take no more; `run` ends once all that was taken is committed."""
        self._stopping = True
        self._moved.set()

    def submit(self, commit: Commit) -> None:
        """Write it behind those that are on their way."""
        self._in_flight.append(commit)
        self._first.put_nowait(commit)

    async def run(self) -> None:
        """Own it. Raises what kept a write from being made, and what `Owner.assigned` raises."""
        start = await self._call("log.claim", self._claim)
        self._epoch, self._next_offset = start.epoch, start.next_offset
        await self._owner.assigned(self._partition, Rows(self._rows), start)
        stages = self._start_stages()
        try:
            while not self._stopping or self._in_flight:
                self._raise_failure()
                if self._stopping or not self._has_room():
                    await self._moved.wait()
                    self._moved.clear()
                elif not await self._take():
                    await self._growth()
        finally:
            for stage in stages:
                stage.cancel()
        await self._owner.revoked(self._partition)

    def _claim(self) -> Start:
        start = self._log.claim(self._partition)
        self._rows = dict(self._log.rows[self._partition])
        return start

    def _has_room(self) -> bool:
        return len(self._in_flight) < (1 if self._cut else BATCHES_IN_FLIGHT_MAX)

    async def _take(self) -> bool:
        records: Sequence[Record] = await self._call(
            "log.fetch",
            lambda: self._log.fetch(topics.EVENTS, self._partition, self._next_offset, self._batch_records),
        )
        if not records:
            return False
        commit = await self._owner.take(self._partition, records)
        self._cut = commit.next_offset <= records[-1].offset
        self._next_offset = commit.next_offset
        if commit.rows or commit.outputs or commit.next_offset > commit.batch_offset:
            self.submit(commit)
        else:
            assert self._in_flight, "with nothing in flight an owner takes something"
        return True

    async def _growth(self) -> None:
        self._moved.clear()
        ended = self._stopping or self._failed is not None
        if self._log.bounds(topics.EVENTS, self._partition)[1] <= self._next_offset and not ended:
            self._log.on_growth(topics.EVENTS, self._partition, self._moved.set)
            await self._moved.wait()

    def _start_stages(self) -> list["asyncio.Task[None]"]:
        steps: list[Stage] = (
            [self._write_all]
            if self._order == "atomic"
            else [self._write_rows, self._write_outputs, self._write_offset]
        )
        queues: list[asyncio.Queue[Commit]] = [asyncio.Queue() for _ in steps]
        self._first = queues[0]
        return [
            asyncio.create_task(self._stage(step, queues[n], queues[n + 1] if n + 1 < len(steps) else None))
            for n, step in enumerate(steps)
        ]

    async def _stage(
        self, step: Stage, waiting: "asyncio.Queue[Commit]", following: "asyncio.Queue[Commit] | None"
    ) -> None:
        """Commits one after the other through one step; the next step may be on an earlier commit meanwhile."""
        while True:
            commit = await waiting.get()
            try:
                await step(commit)
            except Exception as exc:  # noqa: BLE001 - whatever it is, `run` raises it
                self._failed = exc
                self._moved.set()
                return
            if following is not None:
                following.put_nowait(commit)
                continue
            self._owner.committed(self._partition, self._in_flight.popleft())
            self._moved.set()

    async def _write_rows(self, commit: Commit) -> None:
        for at in range(0, len(commit.rows), ROWS_PER_CALL):
            part = commit.rows[at : at + ROWS_PER_CALL]
            await self._call("log.rows", lambda part=part: self._store(part))  # type: ignore[misc]
        self._rows.update({row.key: row.value for row in commit.rows})

    async def _write_outputs(self, commit: Commit) -> None:
        for at in range(0, len(commit.outputs), OUTPUTS_PER_CALL):
            part = commit.outputs[at : at + OUTPUTS_PER_CALL]
            await self._call("log.outputs", lambda part=part: self._log.append(part, self._fenced()))  # type: ignore[misc]

    async def _write_offset(self, commit: Commit) -> None:
        await self._call("log.offset", lambda: self._commit_offset(commit))

    async def _write_all(self, commit: Commit) -> None:
        def write() -> None:
            epoch = self._fenced()
            for row in commit.rows:
                self._log.store(self._partition, row.key, row.released)
            self._log.append(commit.outputs, epoch)
            self._commit_offset(commit)

        await self._call("log.commit", write)
        self._rows.update({row.key: row.released for row in commit.rows})

    def _store(self, rows: Sequence[RowWrite]) -> None:
        self._fenced()
        for row in rows:
            self._log.store(self._partition, row.key, row.value)

    def _commit_offset(self, commit: Commit) -> None:
        self._fenced()
        done = Committed(commit.next_offset, commit.mark)
        self._log.commit_offset(LOOP_GROUP, topics.EVENTS, self._partition, done)

    def _fenced(self) -> int:
        """Our epoch. Raises BackboneUnavailable when it is over."""
        self._log.check_fence(self._partition, self._epoch)
        return self._epoch

    def _raise_failure(self) -> None:
        if self._failed is not None:
            raise self._failed

    async def _call(self, name: str, act: Callable[[], Any]) -> Any:
        return await self._wire.call(self._process, name, act)
