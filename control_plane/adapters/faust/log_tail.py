"""The control topics on Kafka, followed (control_plane.ports.log_reader.LogTail): the broker answers when there is
something, so nobody asks in vain.

Takes no part in any group and commits nothing.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from control_plane.adapters.faust.kafka_address import KafkaAddress
from control_plane.adapters.faust.kafka_topics import CONNECT_TIMEOUT_S
from control_plane.adapters.faust.topics import APP_ID, Names
from control_plane.adapters.faust.unreachable import unreachable, why_unreachable
from control_plane.ports.backbone import Record
from control_plane.ports.log_reader import LogTail
from control_plane.settings import NO_SECURITY, KafkaSecurity

PARTITION: Final = 0
BROKER_WAIT_MS: Final = 1_000
"""How long the broker holds back an empty answer; it answers at once when there is a record."""

TAKE_WAIT_MS: Final = 60_000
REST_TIMEOUT_S: Final = 10.0


def open_log_tail(url: str, starts: Mapping[str, int], *, security: KafkaSecurity = NO_SECURITY) -> LogTail:
    """A tail of partition 0 of these topics, each from an offset on. Connects when it is first asked for records.

    Only Kafka has one: an embedded log has one process, which knows what it appends."""
    address = KafkaAddress.parse(url, security)
    return KafkaLogTail(address, Names(prefix=address.prefix, app_id=APP_ID), starts)


class KafkaLogTail:
    """A consumer that is in no group. Where it was is kept, so that a new one goes on there."""

    def __init__(self, address: KafkaAddress, names: Names, starts: Mapping[str, int]) -> None:
        self._address = address
        self._names = names
        self._next = {TopicPartition(names.on_log(topic), PARTITION): offset for topic, offset in starts.items()}
        self._first = next(iter(self._next))
        self._consumer: AIOKafkaConsumer | None = None

    async def next(self) -> Sequence[Record]:
        if self._consumer is None:
            self._consumer = await self._started()
        try:
            found = await self._taken(self._consumer, TAKE_WAIT_MS)
            if any(record.topic == self._first.topic for record in found):
                async with asyncio.timeout(REST_TIMEOUT_S):
                    found = [*await self._rest(self._consumer), *found]
        except (KafkaError, OSError, TimeoutError) as error:
            await self.close()
            raise unreachable(self._address) from error
        return [self._record(one) for one in found]

    async def close(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await consumer.stop()

    async def _taken(self, consumer: AIOKafkaConsumer, wait_ms: int) -> list[Any]:
        batches = await consumer.getmany(timeout_ms=wait_ms)
        for tp, records in batches.items():
            if records:
                self._next[tp] = records[-1].offset + 1
        return [record for records in batches.values() for record in records]

    async def _rest(self, consumer: AIOKafkaConsumer) -> list[Any]:
        """What the other topics held when the first one's record was read. It came after all that it rests on, so it is
        given last."""
        others = [tp for tp in self._next if tp != self._first]
        ends = await consumer.end_offsets(others)
        found: list[Any] = []
        while any([await consumer.position(tp) < ends[tp] for tp in others]):
            found += await self._taken(consumer, BROKER_WAIT_MS)
        return found

    async def _started(self) -> AIOKafkaConsumer:
        consumer = AIOKafkaConsumer(
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=BROKER_WAIT_MS,
            **self._address.client_options(),
        )
        try:
            await asyncio.wait_for(consumer.start(), CONNECT_TIMEOUT_S)
        except (KafkaError, TimeoutError, OSError) as error:
            await consumer.stop()
            raise await why_unreachable(self._address) from error
        except asyncio.CancelledError:
            await consumer.stop()
            raise
        consumer.assign(list(self._next))
        for tp, offset in self._next.items():
            consumer.seek(tp, offset)
        return consumer

    def _record(self, one: Any) -> Record:
        return Record(
            topic=self._names.above(one.topic),
            partition=one.partition,
            offset=one.offset,
            key=one.key or b"",
            value=one.value or b"",
            recorded_ms=one.timestamp,
        )
