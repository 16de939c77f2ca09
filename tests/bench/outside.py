"""Latency on Kafka, seen from outside: a process that sends at a rate and reads what follows, for everybody measured.

Run as `python -m tests.bench.outside WHO BACKBONE COUNT`, where WHO is `hop`, `stock`, `ours` or `apart` (ours, with
the loop in a process of its own): it starts that one in processes of its own, and prints JSON. Open loop: an event that
cannot be sent in time counts from when it should have been; percentiles are of all values, not of a histogram.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
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
PROCESSES: Mapping[str, Sequence[Sequence[str]]] = {
    "hop": [["hop"]],
    "stock": [["stock"]],
    "ours": [["ours"]],
    "apart": [["ours", "loop"], ["ours", "agents", "executors", "recorder", "triggers", "api"]],
}
"""Who is measured in which processes, with the roles of each where they are not all."""


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
        served = [_start(number, process, place, folder) for number, process in enumerate(PROCESSES[who])]
        try:
            for process in served:
                await until_ready(process)
            return await _between(place, count + WARM_COUNT)
        finally:
            for process in served:
                process.communicate()


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


def _start(number: int, process: Sequence[str], place: Place, folder: str) -> "subprocess.Popen[str]":
    """One of several processes, each with a folder of its own."""
    who, *roles = process
    own = os.path.join(folder, str(number))
    os.mkdir(own)
    return start(who, place, own, roles)


def start(who: str, place: Place, folder: str, roles: Sequence[str] = ()) -> "subprocess.Popen[str]":
    """Somebody who is measured, in a process of its own; it says `ready`, and goes on until its input ends."""
    command = [sys.executable, "-W", "ignore", "-m", f"tests.bench.{who}", "serve", *place, folder, *roles]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)


async def until_ready(process: "subprocess.Popen[str]") -> None:
    """Until a process that was started says so."""
    assert process.stdout is not None, "it was started so that it can be heard"
    async with asyncio.timeout(READY_WITHIN_S):
        said = await asyncio.to_thread(process.stdout.readline)
    assert said == "ready\n", f"{process.args} did not come up"


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
