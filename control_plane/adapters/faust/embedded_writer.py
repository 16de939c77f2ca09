"""The embedded log's ways to write a commit: as one atomic write, or in Kafka's order.

The second is for tests and simulation, which kill the process between its steps.
"""

import asyncio
from collections.abc import Callable, Sequence

from faust.types import TP

from control_plane.adapters.embedded_log import Append, EmbeddedLog, GroupOffset
from control_plane.adapters.faust.fault_points import fault_point
from control_plane.adapters.faust.own_rows import Headers, epoch_headers, packed
from control_plane.adapters.faust.owner_lane import Superseded
from control_plane.adapters.faust.row_store import PartitionRows
from control_plane.adapters.faust.topics import Names
from control_plane.ports.backbone import Commit, Output, Position

Rows = Sequence[tuple[bytes, bytes]]


class EmbeddedOffsets:
    """Commits a group's offsets at once; a write to the log is cheap."""

    def __init__(self, log: EmbeddedLog, group: str) -> None:
        self._log = log
        self._group = group

    def note(self, tp: TP, offset: int, metadata: bytes, committed: Callable[[int], None]) -> None:
        self._log.write([], [GroupOffset(self._group, tp.topic, tp.partition, offset, metadata)])
        committed(offset)

    async def flush(self) -> None:
        await self._log.durable()


class EmbeddedWriter:
    """Turns outputs and rows into appends."""

    def __init__(self, log: EmbeddedLog, names: Names) -> None:
        self.log = log
        self._names = names

    async def append(self, outputs: Sequence[Output]) -> list[Position]:
        positions = self.log.write(self.outputs(outputs))
        await self.log.durable()
        return positions

    def outputs(self, outputs: Sequence[Output], headers: Headers = ()) -> list[Append]:
        return [Append(*self._names.place(one), one.key, one.value, headers) for one in outputs]

    def rows(self, rows: Rows, partition: int) -> list[Append]:
        return [Append(self._names.changelog, partition, key, value) for key, value in rows]


class EmbeddedLine:
    """The commits of one partition (owner_lane.CommitLine), one after the other."""

    def __init__(
        self,
        tp: TP,
        rows: PartitionRows,
        committed: Callable[[Commit], None],
        *,
        writer: EmbeddedWriter,
        group: str,
        atomic: bool,
        epoch: int,
        generation: int,
    ) -> None:
        self._tp = tp
        self._rows = rows
        self._committed = committed
        self._writer = writer
        self._group = group
        self._headers = epoch_headers(epoch)
        self._generation = generation
        self._write = self._write_at_once if atomic else self._write_in_steps
        self._last: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._last.set_result(None)
        self._closed = False

    async def begin(self) -> None:
        self._writer.log.write([], [self._at(0, b"")])
        await self._writer.log.durable()

    def submit(self, commit: Commit) -> "asyncio.Future[None]":
        self._last = asyncio.create_task(self._after(before=self._last, commit=commit))
        return self._last

    async def close(self, timeout_s: float) -> None:
        if not self._last.done():
            await asyncio.wait([self._last], timeout=timeout_s)
        self._closed = True
        if not self._last.done():
            self._last.cancel()
            await asyncio.wait([self._last])

    async def _after(self, before: "asyncio.Future[None]", commit: Commit) -> None:
        if not before.done():
            await asyncio.wait([before])
        if self._closed or before.cancelled() or before.exception() is not None:
            raise Superseded("a commit before this one was not written")
        await self._write(commit)
        self._committed(commit)

    async def _write_at_once(self, commit: Commit) -> None:
        log = self._writer.log
        fault_point("rows.before")
        # The outputs are out with the row, so it need not keep them.
        rows = [(row.key, row.released) for row in commit.rows]
        appends = [*self._writer.rows(rows, self._tp.partition), *self._writer.outputs(commit.outputs, self._headers)]
        positions = log.write(appends, [self._offset(commit)])
        fault_point("rows.after")
        await log.durable()
        self._store(rows, positions)
        fault_point("outputs.after")
        fault_point("offset.after")

    async def _write_in_steps(self, commit: Commit) -> None:
        log = self._writer.log
        fault_point("rows.before")
        rows = [(row.key, row.value) for row in commit.rows]
        positions = log.write(self._writer.rows(rows, self._tp.partition))
        await log.durable()
        fault_point("rows.after")
        self._store(rows, positions)
        log.write(self._writer.outputs(commit.outputs, self._headers))
        await log.durable()
        fault_point("outputs.after")
        log.write([], [self._offset(commit)])
        await log.durable()
        fault_point("offset.after")

    def _store(self, rows: Rows, positions: Sequence[Position]) -> None:
        if rows:
            self._rows.write(rows, positions[len(rows) - 1].offset)
        fault_point("store.after")

    def _offset(self, commit: Commit) -> GroupOffset:
        return self._at(commit.next_offset, commit.mark)

    def _at(self, offset: int, mark: bytes) -> GroupOffset:
        metadata = packed(self._generation, mark)
        return GroupOffset(self._group, self._tp.topic, self._tp.partition, offset, metadata)
