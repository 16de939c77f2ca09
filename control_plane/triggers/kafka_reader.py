"""The client of a foreign Kafka: partitions taken and given back, records in batches, offsets kept after the events.

Our own positions count, and theirs show the lag. Says nothing about what records mean.
"""

# mypy: disallow-subclassing-any=False

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError, OffsetOutOfRangeError

from control_plane.triggers.kafka_taking import Taken, Taker
from control_plane.triggers.sorting import BATCH_EVENTS_MAX

POLL_MS: Final = 200
STOP_TIMEOUT_S: Final = 2.0
SESSION_TIMEOUT_MS: Final = 10_000
REQUEST_TIMEOUT_MS: Final = 20_000
METADATA_MS_MAX: Final = 10_000
"""How long a topic, or a partition, that is new may go unseen. The library's default is five minutes."""

_log = logging.getLogger(__name__)


class Away(Exception):
    """Their Kafka cannot be reached, or does not let us in: try again later."""


async def read(trigger: Taker) -> None:
    """Read as long as all is well. Raises Away. Who is told to end ends between two batches where that is soon: the
    library leaves connections open that it was interrupted in making, and a batch would have to be read again."""
    stopping = asyncio.Event()
    reading = asyncio.create_task(_read(trigger, stopping), name=f"kafka of trigger {trigger.name}")
    try:
        await asyncio.shield(reading)
    finally:
        stopping.set()
        await asyncio.wait([reading], timeout=STOP_TIMEOUT_S)
        reading.cancel()
        # What it ends with is raised above, or no longer of interest.
        await asyncio.gather(reading, return_exceptions=True)


async def _read(trigger: Taker, stopping: asyncio.Event) -> None:
    try:
        async with _consumer(trigger) as consumer:
            turn = asyncio.Lock()
            consumer.subscribe([trigger.topic], listener=_Sharing(consumer, trigger, turn))
            while not stopping.is_set():
                await _one_batch(consumer, trigger, turn)
    except (KafkaError, OSError, TimeoutError) as exc:
        raise Away(str(exc) or type(exc).__name__) from exc


async def _one_batch(consumer: AIOKafkaConsumer, trigger: Taker, turn: asyncio.Lock) -> None:
    try:
        found = await consumer.getmany(timeout_ms=POLL_MS, max_records=BATCH_EVENTS_MAX)
    except OffsetOutOfRangeError as exc:
        await _begin_again(consumer, trigger, exc.args[0])
        return
    # A partition is given back only after what was taken of it is safe and its position is kept.
    async with turn:
        mine = consumer.assignment()
        batches = {partition: records for partition, records in found.items() if partition in mine and records}
        if not batches:
            return
        await trigger.publish([_taken(record) for records in batches.values() for record in records])
        next_offsets = {partition: records[-1].offset + 1 for partition, records in batches.items()}
        await trigger.keep({partition.partition: offset for partition, offset in next_offsets.items()})
        await _show_lag(consumer, next_offsets)


async def _show_lag(consumer: AIOKafkaConsumer, next_offsets: dict[TopicPartition, int]) -> None:
    try:
        await consumer.commit(next_offsets)
    except (CommitFailedError, IllegalStateError):
        # The group is being shared out anew. Their offsets only show the lag; ours are kept already.
        return


async def _begin_again(consumer: AIOKafkaConsumer, trigger: Taker, offsets: dict[TopicPartition, int]) -> None:
    """Records that we wanted are no longer there, or the topic was made anew: nobody can read them any more. Say so,
    and go on with the oldest that are there."""
    first = await consumer.beginning_offsets(list(offsets))
    for partition, wanted in offsets.items():
        _log.error(
            "records of a foreign topic were deleted before they were read",
            extra={
                "trigger": trigger.name,
                "topic": partition.topic,
                "partition": partition.partition,
                "wanted_offset": wanted,
                "oldest_offset": first[partition],
            },
        )
        consumer.seek(partition, first[partition])


class _Sharing(ConsumerRebalanceListener):
    """What happens when partitions come and go."""

    def __init__(self, consumer: AIOKafkaConsumer, trigger: Taker, turn: asyncio.Lock) -> None:
        self._consumer = consumer
        self._trigger = trigger
        self._turn = turn

    async def on_partitions_revoked(self, _revoked: Iterable[TopicPartition]) -> None:
        """Wait for what is being made safe."""
        async with self._turn:
            return

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Begin where we were; a partition that was never read begins where the definition says, and keeps it."""
        known = await self._trigger.positions()
        new = [partition for partition in assigned if partition.partition not in known]
        for partition in assigned:
            if partition.partition in known:
                self._consumer.seek(partition, known[partition.partition])
        if not new:
            return
        ends = self._trigger.begins_at_end
        begin = await (self._consumer.end_offsets(new) if ends else self._consumer.beginning_offsets(new))
        await self._trigger.keep({partition.partition: offset for partition, offset in begin.items()})
        for partition, offset in begin.items():
            self._consumer.seek(partition, offset)


@asynccontextmanager
async def _consumer(trigger: Taker) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=list(trigger.servers),
        group_id=trigger.group,
        client_id=f"setpoint-{trigger.name}",
        enable_auto_commit=False,
        auto_offset_reset="none",
        session_timeout_ms=SESSION_TIMEOUT_MS,
        request_timeout_ms=REQUEST_TIMEOUT_MS,
        metadata_max_age_ms=METADATA_MS_MAX,
        isolation_level="read_committed",
        **trigger.options,
    )
    try:
        await consumer.start()
        yield consumer
    finally:
        await consumer.stop()


def _taken(record: Any) -> Taken:
    return Taken(
        partition=record.partition,
        offset=record.offset,
        timestamp_ms=record.timestamp,
        key=record.key,
        value=record.value,
        headers=record.headers,
    )
