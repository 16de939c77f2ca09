"""A bare hop on Kafka: aiokafka reads an event and writes it on, and nothing else. What nobody can be faster than.

Run as `python -m tests.bench.hop BACKBONE COUNT` for events/s, printed as JSON; `tests.bench.outside` runs it with
`serve`.
"""

import asyncio
import json
import sys
import time

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from tests.bench.load import events
from tests.bench.outside import PARTITIONS, until_told


async def measure(backbone: str, count: int) -> dict[str, float]:
    """Events/s from the first one read to the last one acknowledged."""
    servers, prefix = backbone.removeprefix("kafka://").split("?")[0], f"hop-{time.time_ns()}."
    await make_topics(servers, prefix)
    producer = AIOKafkaProducer(bootstrap_servers=servers)
    await producer.start()
    for output in events(count, 0.0, time.time_ns() // 1_000_000):
        await producer.send(f"{prefix}events.v1", output.value, key=output.key)
    await producer.stop()
    began, ended = await _hop(servers, prefix, count)
    return {"per_s": count / (ended - began)}


async def serve(servers: str, prefix: str, _folder: str) -> None:
    """Hop for as long as it is wanted."""
    await make_topics(servers, prefix)
    joined = asyncio.Event()
    hopping = asyncio.create_task(_hop(servers, prefix, None, joined))
    await joined.wait()
    await until_told()
    hopping.cancel()
    await asyncio.wait([hopping])


async def make_topics(servers: str, prefix: str) -> None:
    """The two topics of a hop."""
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    # Topics that are there already are no error: a server that was killed comes back to them.
    await admin.create_topics([NewTopic(f"{prefix}{name}.v1", PARTITIONS, 1) for name in ("events", "commands")])
    await admin.close()


async def _hop(
    servers: str, prefix: str, count: int | None, joined: asyncio.Event | None = None
) -> tuple[float, float]:
    consumer = AIOKafkaConsumer(
        f"{prefix}events.v1", bootstrap_servers=servers, group_id=f"{prefix}hop", auto_offset_reset="earliest"
    )
    producer = AIOKafkaProducer(bootstrap_servers=servers, acks="all", enable_idempotence=True)
    await consumer.start()
    await producer.start()
    began, done = 0.0, 0
    try:
        while count is None or done < count:
            sent = []
            found = await consumer.getmany(timeout_ms=100)
            if joined is not None and consumer.assignment():
                joined.set()
            for records in found.values():
                began = began or time.perf_counter()
                for record in records:
                    sent.append(await producer.send(f"{prefix}commands.v1", record.value, key=record.key))
            await asyncio.gather(*sent)
            done += len(sent)
        return began, time.perf_counter()
    finally:
        await consumer.stop()
        await producer.stop()


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        asyncio.run(serve(*sys.argv[2:5]))
    else:
        print(json.dumps(asyncio.run(measure(sys.argv[1], int(sys.argv[2])))))
