"""Stock Faust on the same log: one agent, one table, one output per event, in a process of its own. Prints JSON.

Run as `python -m tests.bench.stock BACKBONE COUNT`; `tests.bench.outside` runs it with `serve`. On Kafka it is Faust as
it comes. On the embedded log it is Faust's own way of fetching, acknowledging and committing, on our transport: what we
put in its place is taken out again.
"""

import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import faust
from faust.transport.consumer import Consumer
from faust.types import TP, ConsumerMessage

from control_plane.adapters.embedded_log import Append, EmbeddedLog
from control_plane.adapters.faust.embedded_transport import EmbeddedConsumer, EmbeddedProducer, EmbeddedTransport
from control_plane.adapters.faust.hot_path import HotPath
from control_plane.adapters.faust.partitioner import partition_of
from tests.bench.hop import make_topics
from tests.bench.load import events
from tests.bench.outside import until_told

PARTITIONS = 4
IN, OUT, CHANGES = "events.v1", "commands.v1", "stock-seen-changelog"


class StockConsumer(EmbeddedConsumer):
    """Our transport with Faust's own way from a fetched batch to the stream."""

    _drain_messages = Consumer._drain_messages
    perform_seek = Consumer.perform_seek
    force_commit = Consumer.force_commit
    wait_empty = Consumer.wait_empty
    on_partitions_revoked = Consumer.on_partitions_revoked
    on_stop = Consumer.on_stop

    def _to_message(self, tp: TP, record: Any) -> ConsumerMessage:
        return ConsumerMessage(
            topic=tp.topic,
            partition=tp.partition,
            offset=record.offset,
            timestamp=record.recorded_ms / 1000,
            timestamp_type=1,
            headers=None,
            key=record.key,
            value=record.value,
            checksum=None,
            tp=tp,
            generation_id=self.app.consumer_generation_id,
        )

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Any:
        for tp in active_partitions or ():
            self._positions.setdefault(tp, 0)
        found = self._fetched(set(active_partitions or ()))
        if not found:
            await asyncio.sleep(0.001)
        return found


assert HotPath in StockConsumer.__mro__, "what is measured against is our transport without the hot path"


def stock_app(url: str, folder: Path, log: EmbeddedLog | None, name: str) -> faust.App:
    """Faust with its defaults, but for what would only be in the way of a short run."""
    app = faust.App(
        name,
        broker=url,
        datadir=folder / "tables",
        store="rocksdb://",
        autodiscover=False,
        web_enabled=False,
        topic_disable_leader=True,
        topic_partitions=PARTITIONS,
        consumer_auto_offset_reset="earliest",
    )
    if log is not None:
        transport = EmbeddedTransport([app.conf.broker[0]], app, log=log)
        transport.Consumer, transport.Producer = StockConsumer, EmbeddedProducer
        app.transport = app.producer_transport = transport
    return app


async def measure(backbone: str, count: int) -> dict[str, object]:
    """Events/s through one hop: read, table, produce. The clock runs from the first event to the last output."""
    with tempfile.TemporaryDirectory(prefix="stock-bench-") as text:
        folder, unique = Path(text), f"stock{time.time_ns()}"
        load = events(count, 0.0, time.time_ns() // 1_000_000)
        log = None
        if backbone.startswith("embedded"):
            log = EmbeddedLog.open(folder / "log")
            for topic in (IN, OUT, f"{unique}-seen-changelog"):
                log.create_topic(topic, partitions=PARTITIONS, compacted=topic.endswith("changelog"))
            for at in range(0, count, 500):
                log.write([Append(IN, partition_of(o.key, PARTITIONS), o.key, o.value) for o in load[at : at + 500]])
        names = (IN, OUT) if log is not None else (f"{unique}-in", f"{unique}-out")
        return await _through(stock_app(backbone.split("?")[0], folder, log, unique), names, load, log)


async def _through(
    app: faust.App, names: tuple[str, str], load: list[Any], log: EmbeddedLog | None
) -> dict[str, object]:
    source = app.topic(names[0], key_type=bytes, value_type=bytes, partitions=PARTITIONS)
    out = app.topic(names[1], key_type=bytes, value_type=bytes, partitions=PARTITIONS)
    seen = app.Table("seen", key_type=bytes, value_type=int, default=int, partitions=PARTITIONS)
    first_at, done, all_done = 0.0, 0, asyncio.Event()

    @app.agent(source)
    async def one_hop(stream: Any) -> None:
        nonlocal first_at, done
        async for event in stream.events():
            first_at = first_at or time.perf_counter()
            seen[event.key] += 1
            await out.send(key=event.key, value=event.value)
            done += 1
            if done == len(load):
                all_done.set()

    if log is None:
        await _fill(app, source, out, load)
    await app.start()
    try:
        async with asyncio.timeout(300):
            await all_done.wait()
        await app.producer.flush()
        return {"per_s": len(load) / (time.perf_counter() - first_at)}
    finally:
        await app.stop()


async def serve(servers: str, prefix: str, folder: str) -> None:
    """One hop through stock Faust for as long as it is wanted."""
    await make_topics(servers, prefix)
    app = stock_app(f"kafka://{servers}", Path(folder), None, f"{prefix}stock")
    source = app.topic(f"{prefix}events.v1", key_type=bytes, value_type=bytes, partitions=PARTITIONS)
    out = app.topic(f"{prefix}commands.v1", key_type=bytes, value_type=bytes, partitions=PARTITIONS)
    seen = app.Table("seen", key_type=bytes, value_type=int, default=int, partitions=PARTITIONS)

    @app.agent(source)
    async def one_hop(stream: Any) -> None:
        async for event in stream.events():
            seen[event.key] += 1
            await out.send(key=event.key, value=event.value)

    await app.start()
    try:
        await until_told()
    finally:
        await app.stop()


async def _fill(app: faust.App, source: Any, out: Any, load: list[Any]) -> None:
    """The events stand in the topic before the clock runs."""
    from aiokafka import AIOKafkaProducer
    from aiokafka.admin import AIOKafkaAdminClient, NewTopic

    servers = f"{app.conf.broker[0].host}:{app.conf.broker[0].port}"
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    topics = [NewTopic(topic.get_topic_name(), PARTITIONS, 1) for topic in (source, out)]
    await admin.create_topics(topics)
    await admin.close()
    producer = AIOKafkaProducer(bootstrap_servers=servers)
    await producer.start()
    for output in load:
        await producer.send(source.get_topic_name(), output.value, key=output.key)
    await producer.stop()


if __name__ == "__main__":
    import logging

    logging.disable(logging.CRITICAL)
    if sys.argv[1] == "serve":
        asyncio.run(serve(*sys.argv[2:5]))
        sys.exit()
    print(json.dumps(asyncio.run(measure(sys.argv[1], int(sys.argv[2])))))
