"""Bounds on time that only a broken design misses: a start, and the way of one record on the embedded log."""

import time
from statistics import median

from tests.contract.backbone.owners import CountingOwner
from tests.contract.backbone.world import PARTITIONS, World, events

START_S = {"kafka": 5.0, "embedded": 1.0, "embedded-not-atomic": 1.0}
"""Quiet machines need 0.5 s and 0.1 s."""
EMBEDDED_TAKE_MS = 2.0
"""Quiet machines need 0.2 ms."""


async def test_a_start_is_quick(world: World) -> None:
    async with world.running(CountingOwner()) as backbone:
        await backbone.append(events(1))

    owner = CountingOwner()
    began = time.perf_counter()
    async with world.running(owner):
        await owner.until(lambda: len(owner.starts) == PARTITIONS)
        took_s = time.perf_counter() - began

    assert took_s < START_S[world.kind]


async def test_an_appended_record_is_taken_at_once(world: World) -> None:
    if world.is_kafka:
        return  # Kafka's own time is not ours to bound.
    owner = CountingOwner()
    took_ms = []
    async with world.running(owner) as backbone:
        for n in range(50):
            began = time.perf_counter()
            await backbone.append(events(1, first=n))
            await owner.until(lambda upto=n + 1: len(owner.taken) == upto)
            took_ms.append((time.perf_counter() - began) * 1000)

    assert median(took_ms) < EMBEDDED_TAKE_MS
