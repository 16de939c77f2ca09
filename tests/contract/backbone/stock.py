"""A stock Faust worker that counts, as its own manual would have it: `python -m tests.contract.backbone.stock ADDRESS
PREFIX PATH`.

It does what `worker` does, with an agent, a table and `at_least_once`, and none of our overrides. For comparison only.
"""

import asyncio
import sys

import faust

from control_plane.messages.topics import DECISIONS, EVENTS
from tests.contract.backbone.world import PARTITIONS


def stock_app(address: str, prefix: str, path: str) -> faust.App:
    app = faust.App(
        f"{prefix}stock",
        broker=f"kafka://{address}",
        datadir=path,
        store="memory://",
        autodiscover=False,
        web_enabled=False,
        topic_disable_leader=True,
        topic_partitions=PARTITIONS,
        processing_guarantee="at_least_once",
        consumer_auto_offset_reset="earliest",
        # As ours: with the defaults a restart takes a minute.
        consumer_group_instance_id="stock",
        broker_session_timeout=6,
        broker_rebalance_timeout=5,
        broker_heartbeat_interval=1,
    )
    raw = faust.Schema(key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")
    events = app.topic(prefix + EVENTS, schema=raw)
    decisions = app.topic(prefix + DECISIONS, schema=raw)
    counts = app.Table("counts", default=int, partitions=PARTITIONS)

    @app.agent(events)
    async def count(stream: faust.StreamT) -> None:
        async for event in stream.events():
            key = event.key.decode()
            counts[key] += 1
            said = b"%s:%d:%d" % (event.key, counts[key], event.message.offset)
            await decisions.send(key=event.key, value=said, partition=event.message.partition)

    return app


async def main(address: str, prefix: str, path: str) -> None:
    app = stock_app(address, prefix, path)
    await app.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
