"""Dispatch carries out commands: once each, one at a time per subject, side by side across subjects."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from control_plane.messages import Command
from control_plane.ports.executor import Attempt
from tests.unit.dispatch_world import Target, World, command


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path)
    yield world
    await world.down()


def statuses(world: World) -> dict[str, str]:
    return {outcome.command_id: outcome.status for outcome in world.outcomes}


async def test_a_command_becomes_an_act_and_an_outcome_that_follows_from_it(world: World) -> None:
    await world.up()
    given = command("c1", occurred_ms=5)

    await world.deliver(given)
    (outcome,) = await world.published(1)

    assert world.target.effects == {"c1": 1}
    assert (outcome.status, outcome.attempts, outcome.detail) == ("succeeded", 1, "done")
    assert outcome.begun_ms == outcome.occurred_ms == world.clock.now_ms()
    assert outcome.lineage.causation_id == "c1"
    assert outcome.lineage.correlation_id == given.lineage.correlation_id
    assert outcome.lineage.hop_count == given.lineage.hop_count + 1


async def test_a_command_that_is_delivered_again_is_not_carried_out_again(world: World) -> None:
    await world.up()
    await world.deliver(command("c1"))
    await world.published(1)

    await world.deliver(command("c1"), command("c2"))
    await world.published(2)

    assert world.target.effects == {"c1": 1, "c2": 1}
    assert world.dispatch is not None
    assert world.dispatch.counters.known == 1


async def test_a_command_of_an_epoch_that_is_over_is_dropped(world: World) -> None:
    dispatch = await world.up()
    await world.deliver(command("c1"), epoch=7)

    await world.deliver(command("c2"), epoch=6)
    await world.deliver(command("c3"), epoch=7)
    await world.published(2)

    assert set(world.target.effects) == {"c1", "c3"}
    assert dispatch.counters.stale == 1


async def test_a_subject_has_one_command_under_way_and_keeps_their_order(world: World) -> None:
    order: list[str] = []

    async def slowly(given: Command) -> Attempt:
        order.append(f"{given.lineage.message_id} begins")
        await asyncio.sleep(0.01)
        order.append(f"{given.lineage.message_id} ends")
        return Attempt(result="succeeded")

    world.target.behave = slowly
    await world.up()

    await world.deliver(*(command(f"c{n}") for n in range(4)))
    await world.published(4)

    assert order == [f"c{n} {what}" for n in range(4) for what in ("begins", "ends")]


async def test_subjects_are_acted_on_side_by_side_up_to_the_limit(world: World) -> None:
    started = asyncio.Semaphore(0)
    go_on = asyncio.Event()

    async def wait(given: Command) -> Attempt:
        started.release()
        await go_on.wait()
        return Attempt(result="succeeded")

    world.target.behave = wait
    world.target.concurrency_max = 3
    await world.up()

    await world.deliver(*(command(f"c{n}", f"service/{n}") for n in range(5)))
    for _ in range(3):
        await asyncio.wait_for(started.acquire(), 10)
    go_on.set()
    await world.published(5)

    assert world.target.most_under_way == 3


async def test_a_target_that_hangs_holds_up_nobody_else(world: World) -> None:
    hanging = Target("hanging")
    hanging.behave = hanging.hang
    world.targets["hanging"] = hanging
    hanging.concurrency_max = 2
    world.bounds = {"stop_grace_s": 0.01}
    await world.up()

    await world.deliver(*(command(f"h{n}", f"service/h{n}", executor="hanging") for n in range(5)))
    await world.deliver(*(command(f"c{n}", f"service/{n}") for n in range(5)))
    await world.published(5)

    assert set(statuses(world)) == {f"c{n}" for n in range(5)}


async def test_a_command_past_its_deadline_expires_without_an_act(world: World) -> None:
    await world.up()

    await world.deliver(command("c1", deadline_ms=world.clock.now_ms()))
    (outcome,) = await world.published(1)

    assert (outcome.status, outcome.attempts, outcome.begun_ms) == ("expired", 0, None)
    assert not world.target.tries


async def test_a_halted_command_is_refused_without_an_act(world: World) -> None:
    world.halted = "everything is halted by ada"
    await world.up()

    await world.deliver(command("c1"))
    (outcome,) = await world.published(1)

    assert (outcome.status, outcome.detail) == ("refused", "everything is halted by ada")
    assert not world.target.tries


async def test_a_halt_that_comes_while_the_ledger_is_slow_still_stops_the_act(world: World) -> None:
    dispatch = await world.up()
    begin = dispatch._ledger.begin

    async def slow_begin(begins):
        begun = await begin(begins)
        world.halted = "halted meanwhile"
        return begun

    dispatch._ledger.begin = slow_begin

    await world.deliver(command("c1"))
    (outcome,) = await world.published(1)

    assert (outcome.status, outcome.attempts) == ("refused", 0)
    assert not world.target.tries


async def test_an_attempt_that_was_noted_too_long_ago_is_noted_again_before_acting(world: World) -> None:
    dispatch = await world.up()
    begin = dispatch._ledger.begin
    noted: list[int] = []

    async def stopped_meanwhile(begins):
        begun = await begin(begins)
        noted.append(begins[0].begun_ms)
        if len(noted) == 1:
            world.clock.advance(6_000)
        return begun

    dispatch._ledger.begin = stopped_meanwhile

    await world.deliver(command("c1"))
    (outcome,) = await world.published(1)

    assert len(noted) == 2
    assert (outcome.attempts, outcome.begun_ms) == (1, noted[1])


async def test_a_command_for_nobody_is_refused(world: World) -> None:
    await world.up()

    await world.deliver(command("c1", executor="nobody"))
    (outcome,) = await world.published(1)

    assert outcome.status == "refused"
    assert "nobody" in outcome.detail


async def test_a_refusal_of_the_target_is_final(world: World) -> None:
    world.target.behave = world.target.fail
    await world.up()

    await world.deliver(command("c1"))
    (outcome,) = await world.published(1)

    assert (outcome.status, outcome.attempts, outcome.detail) == ("failed", 1, "no such service")


async def test_a_command_that_somebody_else_has_by_now_is_left_to_them(world: World) -> None:
    dispatch = await world.up()
    begin = dispatch._ledger.begin

    async def lost_one(begins):
        return await begin(begins) - {"c1"}

    dispatch._ledger.begin = lost_one
    await world.deliver(command("c1", "service/web-1"), command("c2", "service/web-2"))
    (outcome,) = await world.published(1)

    assert outcome.command_id == "c2"
    assert world.target.effects == {"c2": 1}
