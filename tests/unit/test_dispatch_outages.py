"""Dispatch while something is away: nothing is done without the ledger, and nothing is lost without the log."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from control_plane.errors import BackboneUnavailable, LedgerUnavailable
from control_plane.messages import Command
from control_plane.messages.wire import encode
from control_plane.ports.executor import Attempt
from tests.unit.dispatch_world import World, a_record, command


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path)
    yield world
    await world.down()


def statuses(world: World) -> dict[str, str]:
    return {outcome.command_id: outcome.status for outcome in world.outcomes}


async def test_a_record_that_is_no_command_is_a_dead_letter_and_the_others_go_on(world: World) -> None:
    dispatch = await world.up()
    records = [a_record(b"{", 0), a_record(encode(command("c1")), 1), a_record(b"{}", 2, (("epoch", b"x"),))]

    await dispatch.take("commands.v1", 0, records)
    await world.published(1)

    assert [offset for offset, _ in world.dead_letters] == [0, 2]
    assert dispatch.counters.unreadable == 2


async def test_while_the_ledger_is_away_nothing_is_done_and_then_it_goes_on(world: World) -> None:
    dispatch = await world.up()
    ledger = dispatch._ledger
    begin, away = ledger.begin, [True, True]

    async def away_twice(begins):
        if away:
            away.pop()
            assert not world.target.tries
            raise LedgerUnavailable("the database is away")
        return await begin(begins)

    ledger.begin = away_twice

    await world.deliver(command("c1"))
    await world.as_time_passes(world.published(1))

    assert world.target.effects == {"c1": 1}
    assert dispatch.counters.unavailable == 2


async def test_a_batch_that_the_ledger_could_not_take_comes_again(world: World) -> None:
    dispatch = await world.up()
    take = dispatch._ledger.take

    async def lost_answer(*args, **kwargs):
        dispatch._ledger.take = take
        await take(*args, **kwargs)
        raise LedgerUnavailable("the answer was lost")

    dispatch._ledger.take = lost_answer
    dispatch._ledger._doubts += 1
    with pytest.raises(LedgerUnavailable):
        await world.deliver(command("c1"))

    await world.deliver(command("c1"))
    await world.published(1)

    assert world.target.effects == {"c1": 1}


async def test_outcomes_wait_for_a_log_that_is_away(world: World) -> None:
    world.publish_fails = [BackboneUnavailable("no broker"), BackboneUnavailable("no broker")]
    await world.up()

    await world.deliver(command("c1"))
    (outcome,) = await world.as_time_passes(world.published(1))

    assert outcome.status == "succeeded"
    assert world.target.effects == {"c1": 1}


async def test_more_commands_than_memory_holds_are_all_carried_out_in_order(world: World) -> None:
    order: list[str] = []

    async def note(given: Command) -> Attempt:
        order.append(given.lineage.message_id)
        return await world.target.succeed(given)

    world.target.behave = note
    world.bounds = {"held_max": 7, "batch_max": 5}
    dispatch = await world.up()
    given = [command(f"{n}/{s}", f"service/{s}") for n in range(6) for s in range(5)]

    for start in range(0, 30, 10):
        await world.deliver(*given[start : start + 10], offset=start)
        assert dispatch.counters.held <= 7 + 10
    await world.published(30)

    assert world.target.effects == {c.lineage.message_id: 1 for c in given}
    for subject in range(5):
        assert [one for one in order if one.endswith(f"/{subject}")] == [f"{n}/{subject}" for n in range(6)]


async def test_our_own_bug_stops_dispatch_loudly(world: World) -> None:
    world.publish_fails = [ValueError("a bug")]
    dispatch = await world.up()

    await world.deliver(command("c1"))

    assert dispatch.failed is not None
    with pytest.raises(ValueError, match="a bug"):
        await asyncio.wait_for(asyncio.shield(dispatch.failed), 10)
    with pytest.raises(ValueError, match="a bug"):
        await world.deliver(command("c2"))
    await world.kill()


async def test_stopping_lets_attempts_end_and_publishes_them(world: World) -> None:
    started, go_on = asyncio.Event(), asyncio.Event()

    async def wait(given: Command) -> Attempt:
        started.set()
        await go_on.wait()
        return await world.target.succeed(given)

    world.target.behave = wait
    dispatch = await world.up()
    await world.deliver(command("c1"), command("c2"))
    await started.wait()

    stopping = asyncio.create_task(dispatch.stop())
    go_on.set()
    await stopping
    world.dispatch = None

    assert statuses(world) == {"c1": "succeeded"}
    world.target.behave = world.target.succeed
    await world.up(sole=False)
    await world.published(2)
    assert world.target.effects == {"c1": 1, "c2": 1}
