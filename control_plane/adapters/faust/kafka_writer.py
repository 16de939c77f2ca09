"""Kafka's way to write a commit: rows, then outputs, then the offset, each after the one before it was acknowledged.

Commits of a partition overlap: the rows of the next go out while the outputs of this one are on their way. Within each
step they keep their order, and a step never overtakes what it rests on.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from aiokafka.errors import KafkaError
from faust.types import TP

from control_plane.adapters.faust.fault_points import fault_point
from control_plane.adapters.faust.kafka_transport import KafkaConsumer, KafkaProducer
from control_plane.adapters.faust.owner_lane import Superseded
from control_plane.adapters.faust.row_store import PartitionRows
from control_plane.adapters.faust.topics import Names
from control_plane.errors import BackboneUnavailable, ContinuityBroken, InvalidMessage
from control_plane.ports.backbone import RECORD_BYTES_MAX, Commit, Output, Position

APPEND_TIMEOUT_S = 15.0
GROUP_COMMIT_PAUSE_S = 0.1
"""Between two commits of a group beside the loop; what a killed process had not committed comes again."""


class KafkaOffsets:
    """Commits a group's offsets one request at a time, with the newest of each partition in it."""

    def __init__(
        self, consumer: Callable[[], KafkaConsumer], failed: Callable[[BaseException], None], *, pause_s: float = 0.0
    ) -> None:
        """`pause_s` is left between two requests: each costs process and broker as much as a small batch."""
        self._consumer = consumer
        self._pause_s = pause_s
        self._hurry = asyncio.Event()
        self._failed = failed
        self._waiting: dict[TP, tuple[int, bytes]] = {}
        self._promise: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None

    def note(self, tp: TP, offset: int, committed: Callable[[int], None]) -> None:
        self.commit(tp, offset, b"").add_done_callback(lambda noted: self._noted(noted, offset, committed))

    def commit(self, tp: TP, offset: int, mark: bytes) -> "asyncio.Future[None]":
        """Commit soon; done when this offset or a newer one of the partition is committed."""
        self._waiting[tp] = (offset, mark)
        if self._promise is None:
            self._promise = asyncio.get_running_loop().create_future()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._commit_waiting())
        return asyncio.shield(self._promise)

    async def flush(self) -> None:
        self._hurry.set()
        if self._task is not None:
            await asyncio.wait([self._task])
        self._hurry.clear()

    async def _commit_waiting(self) -> None:
        while self._promise is not None:
            waiting, self._waiting = self._waiting, {}
            promise, self._promise = self._promise, None
            try:
                await self._consumer().commit_marks(waiting)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is for those who wait for the commit
                promise.set_exception(error)
                # Nobody waiting any more is no reason for a warning.
                promise.exception()
            else:
                promise.set_result(None)
            await self._pause()

    async def _pause(self) -> None:
        if self._pause_s and not self._hurry.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), self._pause_s)

    def _noted(self, noted: "asyncio.Future[None]", offset: int, committed: Callable[[int], None]) -> None:
        if noted.cancelled():
            return
        error = noted.exception()
        if error is None:
            committed(offset)
        elif not isinstance(error, Superseded):
            self._failed(_unavailable(error))


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
        rows: PartitionRows,
        committed: Callable[[Commit], None],
        *,
        writer: "KafkaWriter",
        offsets: KafkaOffsets,
        changelog: str,
    ) -> None:
        self._tp = tp
        self._rows = rows
        self._committed = committed
        self._writer = writer
        self._offsets = offsets
        self._changelog = changelog
        self._last = _Link()
        self._last.finish(None)
        self._tasks: set[asyncio.Task[None]] = set()

    def submit(self, commit: Commit) -> "asyncio.Future[None]":
        before, self._last = self._last, _Link()
        task = asyncio.create_task(self._write(commit, before, self._last))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close(self, timeout_s: float) -> None:
        if not self._tasks:
            return
        _, late = await asyncio.wait(self._tasks, timeout=timeout_s)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)

    async def _write(self, commit: Commit, before: _Link, link: _Link) -> None:
        try:
            await self._write_steps(commit, before, link)
        except KafkaError as error:
            unavailable = _unavailable(error)
            link.finish(unavailable)
            raise unavailable from error
        except BaseException as error:
            link.finish(Superseded("a commit before this one was not written") if _dropped(error) else error)
            raise
        link.finish(None)

    async def _write_steps(self, commit: Commit, before: _Link, link: _Link) -> None:
        await before.rows
        fault_point("rows.before")
        if commit.rows:
            await self._write_rows(commit)
        link.rows.set_result(None)
        await before.outputs
        sent = await self._writer.send(commit.outputs)
        link.outputs.set_result(None)
        await _all(sent)
        # An offset says that everything before it is out, the batch before this one included.
        await before.acknowledged
        link.acknowledged.set_result(None)
        fault_point("outputs.after")
        await self._offsets.commit(self._tp, commit.next_offset, commit.mark)
        fault_point("offset.after")
        await before.done
        self._committed(commit)

    async def _write_rows(self, commit: Commit) -> None:
        rows = [(row.key, row.value) for row in commit.rows]
        first, last = await self._writer.write_batch(self._changelog, self._tp.partition, rows)
        fault_point("rows.after")
        self._nobody_else_wrote(first, last, len(rows))
        self._rows.write(rows, last)
        fault_point("store.after")

    def _nobody_else_wrote(self, first: int, last: int, count: int) -> None:
        """Acknowledged changelog offsets follow one another; a hole is a second writer, or an answer without offset."""
        stored = self._rows.changelog_offset()
        if (stored is not None and first != stored + 1) or last - first != count - 1:
            raise ContinuityBroken(
                f"{self._changelog}/{self._tp.partition}: {count} rows were written at {first} to {last}, they should "
                f"follow {stored}. Somebody else writes there. This process gave the partition up. Make sure that one "
                "worker owns it, then start again."
            )


class KafkaWriter:
    """Sends records with the process's one producer, in the order of the calls."""

    def __init__(self, producer: KafkaProducer, names: Names) -> None:
        self._faust_producer = producer
        self._names = names

    @property
    def _producer(self) -> Any:
        return self._faust_producer._ensure_producer()

    async def append(self, outputs: Sequence[Output]) -> list[Position]:
        """Send and wait; positions in the order given."""
        try:
            async with asyncio.timeout(APPEND_TIMEOUT_S):
                sent = await self.send(outputs)
                answers = await _all(sent)
        except (KafkaError, TimeoutError) as error:
            raise _unavailable(error) from error
        return [
            Position(output.topic, answer.partition, answer.offset)
            for output, answer in zip(outputs, answers, strict=True)
        ]

    async def send(self, outputs: Iterable[Output]) -> "list[asyncio.Future[Any]]":
        """Queue records, in order. Their futures must be awaited, all of them. Nothing is sent when one cannot be."""
        ready = [self._ready(output) for output in outputs]
        return [
            await self._producer.send(topic, value, key=key, partition=partition)
            for topic, partition, key, value in ready
        ]

    async def write_batch(self, topic: str, partition: int, records: Sequence[tuple[bytes, bytes]]) -> tuple[int, int]:
        """Write records as few batches, in order; (first, last) offset. An empty value removes the key's record."""
        sent = []
        batch = self._producer.create_batch()
        for key, value in records:
            if batch.append(key=key, value=value or None, timestamp=None) is None:
                sent.append(await self._producer.send_batch(batch, topic, partition=partition))
                batch = self._producer.create_batch()
                batch.append(key=key, value=value or None, timestamp=None)
        sent.append(await self._producer.send_batch(batch, topic, partition=partition))
        last_count = batch.record_count()
        answers = await _all(sent)
        return answers[0].offset, answers[-1].offset + last_count - 1

    def _ready(self, output: Output) -> tuple[str, int, bytes, bytes | None]:
        topic, partition = self._names.place(output)
        if len(output.key) + len(output.value) > RECORD_BYTES_MAX:
            raise InvalidMessage(
                "record_too_large",
                f"A record for topic {output.topic} has {len(output.value)} bytes, more than {RECORD_BYTES_MAX}. "
                "Nothing was appended.",
                cure="Keep large payloads elsewhere and send a reference.",
            )
        removes = not output.value and not self._names.dense(output.topic)
        return topic, partition, output.key, None if removes else output.value


async def _all(sent: Sequence[Awaitable[Any]]) -> list[Any]:
    """Every answer, or the first error once all have answered: none is left behind unheard."""
    answers = await asyncio.gather(*sent, return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    return answers


def _dropped(error: BaseException) -> bool:
    return isinstance(error, asyncio.CancelledError)


def _unavailable(error: BaseException) -> BackboneUnavailable:
    return BackboneUnavailable(
        f"Kafka did not acknowledge: {error!r}. What was sent may or may not be on the log. Check the brokers; the "
        "same call may work later."
    )
