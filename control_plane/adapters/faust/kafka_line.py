"""Kafka's way to write a commit: rows, then outputs, then the offset, each after the one before it was acknowledged.

Commits of a partition overlap: the rows of the next go out while the outputs of this one are on their way. Within each
step they keep their order, and a step never overtakes what it rests on.
"""

import asyncio
from collections.abc import Awaitable, Callable

from aiokafka.errors import KafkaError
from faust.types import TP

from control_plane.adapters.faust.fault_points import fault_point
from control_plane.adapters.faust.kafka_fence import Fence
from control_plane.adapters.faust.kafka_rows import KafkaRows
from control_plane.adapters.faust.kafka_writer import (
    KafkaOffsets,
    KafkaWriter,
    all_acknowledged,
    not_acknowledged,
)
from control_plane.adapters.faust.own_rows import packed
from control_plane.adapters.faust.owner_lane import Superseded
from control_plane.ports.backbone import Commit


class _Link:
    """How far one commit has come; the next one waits for it step by step."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.rows: asyncio.Future[None] = loop.create_future()
        self.outputs: asyncio.Future[None] = loop.create_future()
        self.acknowledged: asyncio.Future[None] = loop.create_future()
        self.done: asyncio.Future[None] = loop.create_future()

    def finish(self, error: BaseException | None) -> None:
        """What was not reached is not reached any more; those who wait for it give up as well."""
        for step in (self.rows, self.outputs, self.acknowledged, self.done):
            if step.done():
                continue
            if error is None:
                step.set_result(None)
            else:
                step.set_exception(error)
                step.exception()


class KafkaLine:
    """The commits of one partition (owner_lane.CommitLine)."""

    def __init__(
        self,
        tp: TP,
        rows: KafkaRows,
        committed: Callable[[Commit], None],
        *,
        writer: KafkaWriter,
        offsets: KafkaOffsets,
        fence: Fence,
        generation: int,
    ) -> None:
        self._tp = tp
        self._rows = rows
        self._committed = committed
        self._writer = writer
        self._offsets = offsets
        self._fence = fence
        self._generation = generation
        self._last = _Link()
        self._last.finish(None)
        self._tasks: set[asyncio.Task[None]] = set()

    async def begin(self) -> None:
        try:
            await self._offsets.commit(self._tp, 0, packed(self._generation, b""))
        except KafkaError as error:
            raise not_acknowledged(error) from error

    def submit(self, commit: Commit) -> "asyncio.Future[None]":
        return self._follow(lambda before, link: self._write_steps(commit, before, link))

    def renew(self) -> "asyncio.Future[None]":
        """Raise the fence anew, between two commits: what was sent before it is acknowledged first."""
        return self._follow(self._renew)

    async def close(self, timeout_s: float) -> None:
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=timeout_s)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)
        self._fence.let_go()

    def _follow(self, steps: Callable[[_Link, _Link], Awaitable[None]]) -> "asyncio.Future[None]":
        before, self._last = self._last, _Link()
        task = asyncio.create_task(self._write(steps, before, self._last))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _write(self, steps: Callable[[_Link, _Link], Awaitable[None]], before: _Link, link: _Link) -> None:
        try:
            await steps(before, link)
        except KafkaError as error:
            unavailable = not_acknowledged(error)
            link.finish(unavailable)
            raise unavailable from error
        except BaseException as error:
            link.finish(
                Superseded("a commit before this one was not written")
                if isinstance(error, asyncio.CancelledError)
                else error
            )
            raise
        link.finish(None)

    async def _write_steps(self, commit: Commit, before: _Link, link: _Link) -> None:
        await before.rows
        fault_point("rows.before")
        if commit.rows:
            await self._rows.write([(row.key, row.value) for row in commit.rows])
        link.rows.set_result(None)
        await before.outputs
        sent = await self._writer.send(commit.outputs)
        link.outputs.set_result(None)
        await all_acknowledged(sent)
        # An offset says that everything before it is out, the batch before this one included.
        await before.acknowledged
        link.acknowledged.set_result(None)
        fault_point("outputs.after")
        await self._offsets.commit(self._tp, commit.next_offset, packed(self._generation, commit.mark))
        fault_point("offset.after")
        await before.done
        self._committed(commit)

    async def _renew(self, before: _Link, link: _Link) -> None:
        await before.acknowledged
        await self._fence.raise_up()
        # Rows are the first that the new epoch must be known for; outputs of a former owner follow from its rows.
        await self._rows.shut_out_others()
        await before.done
