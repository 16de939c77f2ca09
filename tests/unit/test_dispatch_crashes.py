"""Whatever dies between command and outcome: one effect, one outcome, and every copy of it byte for byte the same."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from control_plane.messages.wire import encode
from control_plane.ports.executor import Found
from tests.unit.dispatch_world import World, command

POINTS = ["ledger.taken", "command.begun", "command.acted", "outcome.written", "outcome.published"]
COMMANDS = [command(f"c{n}", f"service/{n % 3}") for n in range(6)]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path)
    yield world
    await world.down()


async def run_into_the_fault(world: World, point: str, passage: int) -> None:
    world.fault = (point, passage)
    await world.up()
    if point == "ledger.taken":
        with pytest.raises(BaseException, match=point):
            await world.deliver(*COMMANDS)
    else:
        await world.deliver(*COMMANDS)
        await world.died()
    await world.kill()


@pytest.mark.parametrize("behaviour", ["succeed", "lose_the_answer"])
@pytest.mark.parametrize("passage", [1, 2])
@pytest.mark.parametrize("point", POINTS)
async def test_killed_at_a_point_everything_is_done_once_after_the_restart(
    world: World, point: str, passage: int, behaviour: str
) -> None:
    world.target.behave = getattr(world.target, behaviour)
    world.target.settle_s = 1.0
    await run_into_the_fault(world, point, 1 if point == "ledger.taken" else passage)

    await world.up()
    await world.deliver(*COMMANDS)  # The offset may not have been committed.

    async def all_published() -> None:
        count = len(COMMANDS)
        while len({outcome.command_id for outcome in world.outcomes}) < len(COMMANDS):
            await world.published(count)
            count += 1

    await world.as_time_passes(all_published())
    assert world.target.effects == {c.lineage.message_id: 1 for c in COMMANDS}
    assert {outcome.status for outcome in world.outcomes} == {"succeeded"}
    copies = {outcome.command_id: set[bytes]() for outcome in world.outcomes}
    for outcome in world.outcomes:
        copies[outcome.command_id].add(encode(outcome))
    assert all(len(different) == 1 for different in copies.values())


async def test_an_attempt_that_may_still_run_elsewhere_is_not_believed_absent(world: World) -> None:
    await run_into_the_fault(world, "command.begun", 1)
    restarted_ms = world.clock.now_ms()

    await world.up()
    timeout_ms = int(world.target.attempt_timeout_s * 1000)
    redone = [o for o in await world.as_time_passes(world.published(6)) if o.attempts == 2]
    assert redone
    assert all(outcome.begun_ms >= restarted_ms + timeout_ms for outcome in redone)


async def test_what_was_begun_and_cannot_be_found_out_is_unknown_and_not_done_again(world: World) -> None:
    await run_into_the_fault(world, "command.acted", 1)
    tried = dict(world.target.tries)
    world.target.found = Found(state="unknown", detail="nobody knows")

    await world.up()
    outcomes = await world.as_time_passes(world.published(6), step_ms=1000)

    assert "unknown" in {outcome.status for outcome in outcomes}
    assert all(world.target.tries[command_id] == 1 for command_id in tried)


async def test_another_process_waits_for_the_lease_of_the_dead_one(world: World) -> None:
    await run_into_the_fault(world, "command.acted", 1)
    killed_ms, before = world.clock.now_ms(), len(world.outcomes)

    await world.up(sole=False)
    await world.as_time_passes(world.published(before + 1), step_ms=500)
    waited_ms = world.clock.now_ms() - killed_ms
    await world.as_time_passes(world.published(6), step_ms=500)

    assert waited_ms >= 30_000
    assert world.target.effects == {c.lineage.message_id: 1 for c in COMMANDS}
