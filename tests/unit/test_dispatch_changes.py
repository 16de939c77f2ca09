"""Executors change while commands are under way: what has begun ends where it began, what waits goes to the new one."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from control_plane.messages import Command
from control_plane.ports.executor import Attempt
from tests.unit.dispatch_world import PATIENCE_S, Target, World, command


class Stoppable(Target):
    """A target that hangs until it is let go, and says when it was started and stopped."""

    def __init__(self, **settings: object) -> None:
        super().__init__(**settings)
        self.said: list[str] = []
        self.let_go = asyncio.Event()
        self.stopped = asyncio.Event()
        self.busy = asyncio.Event()

    async def start(self) -> None:
        self.said.append("start")

    async def stop(self) -> None:
        self.said.append("stop")
        self.stopped.set()

    async def wait_first(self, command: Command) -> Attempt:
        self.busy.set()
        await self.let_go.wait()
        return await self.succeed(command)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path)
    yield world
    await world.down()


async def test_a_command_under_way_ends_on_the_old_executor_and_the_next_goes_to_the_new_one(world: World) -> None:
    old, new = Stoppable(concurrency_max=1), Stoppable()
    old.behave = old.wait_first
    world.targets = {"target": old}
    dispatch = await world.up()
    await world.deliver(command("c1", "service/web-1"), command("c2", "service/web-2"), command("c3", "service/web-1"))
    async with asyncio.timeout(PATIENCE_S):
        await old.busy.wait()

    dispatch.use({"target": new})
    await world.published(1)
    assert "stop" not in old.said, "c1 is still under way on it"
    old.let_go.set()
    await world.published(3)

    assert old.effects == {"c1": 1}
    assert new.effects == {"c2": 1, "c3": 1}
    async with asyncio.timeout(PATIENCE_S):
        await old.stopped.wait()
    assert (old.said, new.said) == (["start", "stop"], [])


async def test_an_executor_that_stays_the_same_is_left_alone(world: World) -> None:
    kept, gone = Stoppable(), Stoppable(name="gone")
    world.targets = {"target": kept, "gone": gone}
    dispatch = await world.up()

    dispatch.use({"target": kept})
    await world.deliver(command("c1"))
    await world.published(1)

    assert kept.said == ["start"]
    async with asyncio.timeout(PATIENCE_S):
        await gone.stopped.wait()


async def test_a_command_whose_executor_has_gone_is_refused(world: World) -> None:
    dispatch = await world.up()

    dispatch.use({})
    await world.deliver(command("c1"))
    (outcome,) = await world.published(1)

    assert (outcome.status, outcome.detail) == ("refused", "no executor target is known here")


async def test_an_executor_of_other_controls_is_asked_for_before_its_command_is_refused(world: World) -> None:
    asked: list[str] = []

    async def introduce(command: Command) -> None:
        asked.append(command.executor)
        if len(asked) == 2:
            dispatch.use({"target": Target()})

    dispatch = await world.up(introduce=introduce)
    dispatch.use({})
    await world.deliver(command("c1"), command("c2", "service/web-2"), command("c3", "service/web-3"))
    outcomes = await world.published(3)

    assert {outcome.command_id for outcome in outcomes if outcome.status == "succeeded"} >= {"c2", "c3"}
    assert asked == ["target", "target"], "one that is known is not asked for"


async def test_whether_a_command_has_begun_is_known_while_it_is_in_memory(world: World) -> None:
    target = Stoppable()
    target.behave = target.wait_first
    world.targets = {"target": target}
    dispatch = await world.up()
    first, second = command("c1"), command("c2")
    assert dispatch.has_begun(first) is None

    await world.deliver(first, second)
    async with asyncio.timeout(PATIENCE_S):
        await target.busy.wait()
    assert (dispatch.has_begun(first), dispatch.has_begun(second)) == (True, False)

    world.halted = "cancelled by person/admin"
    target.let_go.set()
    outcomes = await world.published(2)
    assert [(found.command_id, found.status, found.detail) for found in outcomes] == [
        ("c1", "succeeded", "done"),
        ("c2", "refused", "cancelled by person/admin"),
    ], "what has begun ends; what has not is refused"
