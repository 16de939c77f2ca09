"""A worker is killed at each point of the write, and at any time; the next one goes on without loss."""

import pytest

from control_plane.adapters.faust.fault_points import WRITE_POINTS
from tests.contract.backbone.killing import finish, judge, until_killed, until_round, worker
from tests.contract.backbone.worker import ROUND_EVENTS
from tests.contract.backbone.world import World, events

pytestmark = pytest.mark.kills

EVENTS_BEFORE = 900


@pytest.mark.parametrize("point", WRITE_POINTS)
async def test_a_kill_at_each_point_of_the_write_loses_nothing(world: World, point: str) -> None:
    async with world.running() as backbone:
        await backbone.append(events(EVENTS_BEFORE))

    async with worker(world, fault=f"{point}:3") as process:
        await until_killed(process)

    owner = await finish(world)
    await judge(world, owner)


async def test_a_kill_after_the_kill_loses_nothing(world: World) -> None:
    async with world.running() as backbone:
        await backbone.append(events(EVENTS_BEFORE))

    for passage in (2, 1):
        async with worker(world, fault=f"outputs.after:{passage}") as process:
            await until_killed(process)

    owner = await finish(world)
    await judge(world, owner)


@pytest.mark.parametrize("round_", [0, 7])
async def test_a_kill_at_any_time_loses_nothing(world: World, round_: int) -> None:
    async with worker(world, rounds=round_ + 20) as process:
        await until_round(process, round_)
        process.kill()
        await until_killed(process)

    owner = await finish(world)
    await judge(world, owner)
    assert len(owner.taken) < (round_ + 20) * ROUND_EVENTS, "the worker was killed too late to show anything"
