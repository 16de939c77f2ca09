"""Sending to Kafka, record by record or a whole batch, and committing offsets; each says when it is acknowledged.

Knows nothing of what belongs together in a commit: that is `kafka_line`.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from aiokafka.errors import KafkaError, ProducerFenced
from faust.types import TP

from control_plane.adapters.faust.kafka_transport import KafkaConsumer
from control_plane.adapters.faust.own_rows import Headers
from control_plane.adapters.faust.owner_lane import Superseded
from control_plane.adapters.faust.topics import Names
from control_plane.errors import BackboneUnavailable, InvalidMessage, OwnerFenced
from control_plane.ports.backbone import RECORD_BYTES_MAX, Output, Position

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

    def note(self, tp: TP, offset: int, metadata: bytes, committed: Callable[[int], None]) -> None:
        self.commit(tp, offset, metadata).add_done_callback(lambda noted: self._noted(noted, offset, committed))

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
            self._failed(not_acknowledged(error))


class KafkaWriter:
    """Sends records with one producer, in the order of the calls: the process's, or that of a partition's owner."""

    def __init__(self, producer: Callable[[], Any], names: Names, headers: Headers = ()) -> None:
        """`headers` go with every record."""
        self._producer = producer
        self._names = names
        self._headers = list(headers)  # aiokafka takes nothing but a list

    async def append(self, outputs: Sequence[Output]) -> list[Position]:
        """Send and wait; positions in the order given."""
        try:
            async with asyncio.timeout(APPEND_TIMEOUT_S):
                sent = await self.send(outputs)
                answers = await all_acknowledged(sent)
        except (KafkaError, TimeoutError) as error:
            raise not_acknowledged(error) from error
        return [
            Position(output.topic, answer.partition, answer.offset)
            for output, answer in zip(outputs, answers, strict=True)
        ]

    async def send(self, outputs: Iterable[Output]) -> "list[asyncio.Future[Any]]":
        """Queue records, in order. Their futures must be awaited, all of them. Nothing is sent when one cannot be."""
        ready = [self._ready(output) for output in outputs]
        send, headers = self._producer().send, self._headers
        return [
            await send(topic, value, key=key, partition=partition, headers=headers)
            for topic, partition, key, value in ready
        ]

    async def write_batch(self, topic: str, partition: int, records: Sequence[tuple[bytes, bytes]]) -> tuple[int, int]:
        """Write records as few batches, in order; (first, last) offset. An empty value removes the key's record."""
        producer, headers, sent = self._producer(), self._headers, []
        batch = producer.create_batch()
        for key, value in records:
            if batch.append(key=key, value=value or None, timestamp=None, headers=headers) is None:
                sent.append(await producer.send_batch(batch, topic, partition=partition))
                batch = producer.create_batch()
                batch.append(key=key, value=value or None, timestamp=None, headers=headers)
        sent.append(await producer.send_batch(batch, topic, partition=partition))
        last_count = batch.record_count()
        answers = await all_acknowledged(sent)
        return answers[0].offset, answers[-1].offset + last_count - 1

    async def write_apart(self, topic: str, partition: int, key: bytes, value: bytes) -> None:
        """One record of ours to a topic that nobody else appends to."""
        try:
            async with asyncio.timeout(APPEND_TIMEOUT_S):
                await self.write_batch(topic, partition, [(key, value)])
        except (KafkaError, TimeoutError) as error:
            raise not_acknowledged(error) from error

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


async def all_acknowledged(sent: Sequence[Awaitable[Any]]) -> list[Any]:
    """Every answer, or the first error once all have answered: none is left behind unheard."""
    answers = await asyncio.gather(*sent, return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    return answers


def not_acknowledged(error: BaseException) -> BackboneUnavailable | OwnerFenced:
    """What an error of Kafka's means to whoever wrote."""
    if isinstance(error, ProducerFenced):
        return OwnerFenced(
            "a newer owner has taken a partition of this process, and Kafka refused what was still written to it. That "
            "is not on the log and this process must stop. Start it again: the group then gives it what is its own."
        )
    return BackboneUnavailable(
        f"Kafka did not acknowledge: {error!r}. What was sent may or may not be on the log. Check the brokers; the "
        "same call may work later."
    )
