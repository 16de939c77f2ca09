"""A stretch of one partition on Kafka, read by a consumer of its own that is in no group.

For rare moments: the hole that somebody else has left in a changelog, a person's word on a partition that is stopped.
"""

from collections.abc import AsyncIterator
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from control_plane.adapters.faust.kafka_address import KafkaAddress
from control_plane.ports.backbone import Record

CHUNK_RECORDS_MAX = 1_000
CHUNK_WAIT_MS = 1_000


async def records_between(
    address: KafkaAddress, topic: str, partition: int, first: int, end: int | None = None
) -> AsyncIterator[Record]:
    """Records from an offset on and before another, or to the end as it is now. Raises KafkaError."""
    tp = TopicPartition(topic, partition)
    consumer = AIOKafkaConsumer(
        group_id=None, enable_auto_commit=False, auto_offset_reset="earliest", **address.client_options()
    )
    await consumer.start()
    try:
        consumer.assign([tp])
        end = (await consumer.end_offsets([tp]))[tp] if end is None else end
        consumer.seek(tp, max(first, (await consumer.beginning_offsets([tp]))[tp]))
        while await consumer.position(tp) < end:
            found = await consumer.getmany(tp, timeout_ms=CHUNK_WAIT_MS, max_records=CHUNK_RECORDS_MAX)
            for one in found.get(tp, ()):
                if one.offset < end:
                    yield _record(one)
    finally:
        await consumer.stop()


def _record(one: Any) -> Record:
    return Record(
        topic=one.topic,
        partition=one.partition,
        offset=one.offset,
        key=one.key or b"",
        value=one.value or b"",
        recorded_ms=one.timestamp,
        headers=tuple(one.headers),
    )
