"""After an attempt dispatch tries again only where nothing was done, and asks the world where nobody knows."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from control_plane.messages import Command
from control_plane.ports.executor import Attempt, Found
from tests.unit.dispatch_world import World, command


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path)
    yield world
    await world.down()


def statuses(world: World) -> dict[str, str]:
    return {outcome.command_id: outcome.status for outcome in world.outcomes}


async def test_where_nothing_was_done_it_is_tried_again_after_a_pause(world: World) -> None:
    async def better_the_third_time(given: Command) -> Attempt:
        if world.target.tries["c1"] < 3:
            return await world.target.refuse_connections(given)
        return await world.target.succeed(given)

    world.target.behave = better_the_third_time
    await world.up()
    began_ms = world.clock.now_ms()

    await world.deliver(command("c1"))
    (outcome,) = await world.as_time_passes(world.published(1))

    assert (outcome.status, outcome.attempts) == ("succeeded", 3)
    assert outcome.begun_ms - began_ms >= 3_000


async def test_when_attempts_run_out_it_has_failed(world: World) -> None:
    world.target.behave = world.target.refuse_connections
    await world.up()

    await world.deliver(command("c1"))
    (outcome,) = await world.as_time_passes(world.published(1))

    assert (outcome.status, outcome.attempts) == ("failed", 3)
    assert "nothing was done" in outcome.detail


async def test_a_pause_that_would_pass_the_deadline_is_not_waited_for(world: World) -> None:
    world.target.behave = world.target.refuse_connections
    await world.up()

    await world.deliver(command("c1", deadline_ms=world.clock.now_ms() + 500))
    (outcome,) = await world.published(1)

    assert (outcome.status, outcome.attempts) == ("expired", 1)


@pytest.mark.parametrize("mishap", ["lose_the_answer", "explode", "hang"])
async def test_after_an_unknown_attempt_the_world_is_asked_and_never_a_blind_retry(world: World, mishap: str) -> None:
    async def mishap_after_the_effect(given: Command) -> Attempt:
        world.target.act(given)
        return await getattr(world.target, mishap)(given)

    world.target.behave = world.target.lose_the_answer if mishap == "lose_the_answer" else mishap_after_the_effect
    world.target.attempt_timeout_s = 0.05
    await world.up()

    await world.deliver(command("c1"))
    (outcome,) = await world.published(1)

    assert (outcome.status, outcome.attempts) == ("succeeded", 1)
    assert world.target.effects == {"c1": 1}
    assert world.target.looks == 1


async def test_absence_is_believed_only_after_settling(world: World) -> None:
    async def act_late(given: Command) -> Attempt:
        return Attempt(result="unknown", detail="no answer")

    looked = world.target.looked
    world.target.behave = act_late
    world.target.settle_s = 2.0
    await world.up()
    began_ms = world.clock.now_ms()

    await world.deliver(command("c1"))
    await asyncio.wait_for(looked.wait(), 10)
    world.target.act(command("c1"))  # It was on its way: the effect comes after the first look.
    (outcome,) = await world.as_time_passes(world.published(1))

    assert (outcome.status, outcome.attempts) == ("succeeded", 1)
    assert outcome.occurred_ms - began_ms >= 2_000


async def test_what_was_surely_not_done_is_tried_again(world: World) -> None:
    async def lost_on_the_way(given: Command) -> Attempt:
        if world.target.tries["c1"] == 1:
            return Attempt(result="unknown", detail="reset")
        return await world.target.succeed(given)

    world.target.behave = lost_on_the_way
    await world.up()

    await world.deliver(command("c1"))
    (outcome,) = await world.as_time_passes(world.published(1))

    assert (outcome.status, outcome.attempts) == ("succeeded", 2)
    assert world.target.effects == {"c1": 1}


async def test_what_nobody_can_find_out_ends_as_unknown(world: World) -> None:
    world.target.behave = world.target.lose_the_answer
    world.target.found = Found(state="unknown", detail="the target does not say")
    world.bounds = {"reconcile_for_s": 10.0}
    await world.up()

    await world.deliver(command("c1"))
    (outcome,) = await world.as_time_passes(world.published(1))

    assert (outcome.status, outcome.detail) == ("unknown", "the target does not say")
    assert world.target.looks > 3
    assert world.target.tries == {"c1": 1}


async def test_an_idempotent_command_may_be_tried_again_without_looking(world: World) -> None:
    async def answer_lost_once(given: Command) -> Attempt:
        if world.target.tries["c1"] == 1:
            return await world.target.lose_the_answer(given)
        return await world.target.succeed(given)

    world.target.behave = answer_lost_once
    await world.up()

    await world.deliver(command("c1", idempotent=True))
    (outcome,) = await world.as_time_passes(world.published(1))

    assert (outcome.status, outcome.attempts) == ("succeeded", 2)
    assert world.target.looks == 0
