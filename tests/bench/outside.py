"""Latency on Kafka, seen from outside: a process that sends at a rate and reads what follows, for everybody measured.

Run as `python -m tests.bench.outside WHO BACKBONE COUNT`, where WHO is `hop`, `stock` or `ours`: it starts that one in
a process of its own, and prints JSON. Open loop: an event that cannot be sent in time counts from when it should have
been; percentiles are of all values, not of a histogram.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from control_plane.ports.backbone import Output
from tests.bench.load import events

RATE_PER_S = 200
WARM_COUNT = 2 * RATE_PER_S
"""The first seconds warm caches and connections on every side; they are not counted."""
PARTITIONS = 4
READY_WITHIN_S = 60.0
QUIET_AT_MOST_S = 60.0


class _Body(msgspec.Struct):
    data: dict[str, Any]


_decoder = msgspec.json.Decoder(_Body)


def number_of(value: bytes) -> int:
    """Which event a record follows from: of an event itself, or of a command about it."""
    data = _decoder.decode(value).data
    number: int = data.get("parameters", data)["n"]
    return number


async def measure(who: str, backbone: str, count: int) -> dict[str, float]:
    """From the time an event should be sent until what follows from it can be read."""
    place = Place.of(backbone)
    with tempfile.TemporaryDirectory(prefix="outside-bench-") as folder:
        served = start(who, place, folder)
        try:
            async with asyncio.timeout(READY_WITHIN_S):
                ready = await asyncio.to_thread(served.stdout.readline)
            assert ready == "ready\n", f"{who} did not come up"
            return await _between(place, count + WARM_COUNT)
        finally:
            served.communicate()


class Place(NamedTuple):
    """Where on a Kafka somebody is measured."""

    servers: str
    prefix: str

    @classmethod
    def of(cls, backbone: str) -> "Place":
        """A place that nobody has used."""
        return cls(backbone.removeprefix("kafka://").split("?")[0], f"bench-{time.time_ns()}.")

    @property
    def events(self) -> str:
        return f"{self.prefix}events.v1"

    @property
    def commands(self) -> str:
        return f"{self.prefix}commands.v1"


def start(who: str, place: Place, folder: str) -> "subprocess.Popen[str]":
    """Somebody who is measured, in a process of its own; it says `ready`, and goes on until its input ends."""
    command = [sys.executable, "-W", "ignore", "-m", f"tests.bench.{who}", "serve", *place, folder]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)


async def _between(place: Place, count: int) -> dict[str, float]:
    load = events(count, 1.0, time.time_ns() // 1_000_000)
    async with reading(place) as consumer, writing(place) as producer:
        seen: dict[int, float] = {}
        reading_all = asyncio.create_task(read_until(consumer, seen, count))
        due = await _send(producer, place.events, load)
        async with asyncio.timeout(QUIET_AT_MOST_S):
            await reading_all
    ms = sorted((seen[n] - due[n]) * 1000 for n in range(WARM_COUNT, count))
    return {"p50_ms": ms[len(ms) // 2], "p99_ms": ms[int(len(ms) * 0.99)], "max_ms": ms[-1]}


async def _send(producer: AIOKafkaProducer, topic: str, load: Sequence[Output]) -> list[float]:
    began = time.perf_counter() + 0.1
    due = [began + n / RATE_PER_S for n in range(len(load))]
    sent = []
    for at, output in zip(due, load, strict=True):
        await asyncio.sleep(max(0.0, at - time.perf_counter()))
        sent.append(await producer.send(topic, output.value, key=output.key))
    await asyncio.gather(*sent)
    return due


async def read_until(consumer: AIOKafkaConsumer, seen: dict[int, float], count: int) -> None:
    """Until so many different events were answered; `seen` says when, by `time.perf_counter`."""
    while len(seen) < count:
        found = await consumer.getmany(timeout_ms=1000)
        now = time.perf_counter()
        for records in found.values():
            seen |= {number_of(record.value): now for record in records}


@asynccontextmanager
async def reading(place: Place) -> AsyncIterator[AIOKafkaConsumer]:
    """Reads every command, from the first."""
    consumer = AIOKafkaConsumer(bootstrap_servers=place.servers, auto_offset_reset="earliest")
    await consumer.start()
    consumer.assign([TopicPartition(place.commands, number) for number in range(PARTITIONS)])
    try:
        yield consumer
    finally:
        await consumer.stop()


@asynccontextmanager
async def writing(place: Place) -> AsyncIterator[AIOKafkaProducer]:
    """Writes events as anybody outside would."""
    producer = AIOKafkaProducer(bootstrap_servers=place.servers, acks="all", enable_idempotence=True)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def until_told() -> None:
    """For those who are measured: say that all is ready, and go on until the measuring process is done."""
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measure(sys.argv[1], sys.argv[2], int(sys.argv[3])))))
