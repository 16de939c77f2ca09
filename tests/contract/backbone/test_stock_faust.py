"""The same kill under the same load, judged by the same judge: stock Faust counts twice or loses, ours does neither.

This is why the way from a fetched batch to its row is not Faust's own (docs/adr/0004).
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from control_plane.messages.topics import DECISIONS, EVENTS
from tests.contract.backbone import killing
from tests.contract.backbone.killing import REPOSITORY, by_partition, every_input_has_its_output
from tests.contract.backbone.turns import TURNS
from tests.contract.backbone.world import World, events

pytestmark = [pytest.mark.kafka, pytest.mark.kills, pytest.mark.timeout(180)]

ROUNDS = 90
ROUND_EVENTS = 20
SAID_BEFORE_THE_KILL = 1_300
SAID_TIMEOUT_S = 60.0


@asynccontextmanager
async def stock_worker(world: World) -> AsyncIterator[asyncio.subprocess.Process]:
    """A stock Faust worker on the world's log; killed at the end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.contract.backbone.stock",
        world.address,
        world.prefix,
        str(world.path / "stock"),
        cwd=REPOSITORY,
        env=os.environ,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def feed(world: World) -> None:
    """Some 300 events a second."""
    async with world.running(worker="feeder") as backbone:
        for round_ in range(ROUNDS):
            await backbone.append(events(ROUND_EVENTS, first=round_ * ROUND_EVENTS))
            await asyncio.sleep(ROUND_EVENTS / 300)


async def offsets_said(world: World) -> set[tuple[int, int]]:
    return {(r.partition, int(r.value.rsplit(b":", 1)[1])) for r in await world.read(DECISIONS)}


async def until_said(world: World, count: int) -> None:
    async with asyncio.timeout(SAID_TIMEOUT_S):
        while len(await offsets_said(world)) < count:  # noqa: ASYNC110 - other processes have no event for us
            await asyncio.sleep(0.1)


async def killed_under_load(world: World, whose: str) -> bool:
    """A worker dies by SIGKILL while events come in, and another one takes over. Whether every event was answered."""
    async with world.running(worker="feeder"):
        pass  # So that the topics are there.
    run = stock_worker if whose == "stock" else killing.worker
    async with run(world) as first:
        feeding = asyncio.create_task(feed(world))
        await until_said(world, SAID_BEFORE_THE_KILL)
        first.kill()
        await first.wait()
    async with run(world):
        await feeding
        try:
            await until_said(world, ROUNDS * ROUND_EVENTS)
        except TimeoutError:
            return False
    return True


async def judge(world: World) -> None:
    inputs, outputs = by_partition(await world.read(EVENTS)), by_partition(await world.read(DECISIONS))
    for partition, records in inputs.items():
        every_input_has_its_output(records, outputs.get(partition, []))


@pytest.mark.parametrize("turn", TURNS)
async def test_ours_answers_every_event_once_however_it_is_killed(kafka_world: World, turn: int) -> None:
    assert await killed_under_load(kafka_world, "ours")

    await judge(kafka_world)


async def test_stock_faust_counts_twice_or_loses_in_the_same_kill(kafka_world: World) -> None:
    if not await killed_under_load(kafka_world, "stock"):
        return  # It lost events for good: nobody ever answered them.

    with pytest.raises(AssertionError, match="output of offset"):
        await judge(kafka_world)
