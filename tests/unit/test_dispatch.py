"""Dispatch carries out commands: once each, one at a time per subject, side by side across subjects."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from control_plane.errors import BackboneUnavailable, LedgerUnavailable
from control_plane.messages import Command
from control_plane.messages.wire import encode
from control_plane.ports.executor import Attempt, Found
from tests.unit.dispatch_world import Target, World, a_record, command


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
    dispatch._ledger._doubtful_entries = True
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
