"""What every built-in executor promises (`ports.executor`)."""

import asyncio

import pytest

from tests.contract.executors.grounds import Ground


async def test_a_command_is_carried_out_once(ground: Ground) -> None:
    attempt = await ground.executor.execute(ground.command("c1"))

    assert attempt.result == "succeeded"
    assert ground.effects() == (["c1"] if ground.acts else [])


async def test_the_command_id_goes_along_as_the_idempotency_key(acting_ground: Ground) -> None:
    for command_id in ("c1", "c2"):
        await acting_ground.executor.execute(acting_ground.command(command_id))

    assert acting_ground.effects() == ["c1", "c2"]


async def test_what_was_done_is_found_done_whoever_asks(acting_ground: Ground) -> None:
    command = acting_ground.command("c1")
    await acting_ground.executor.execute(command)
    await acting_ground.executor.stop()

    await acting_ground.executor.start()
    found = await acting_ground.executor.reconcile(command)

    assert found.state == "done"
    assert acting_ground.effects() == ["c1"]


async def test_what_was_never_done_is_found_absent(ground: Ground) -> None:
    found = await ground.executor.reconcile(ground.command("c1"))

    assert found.state == "absent"


async def test_another_command_on_the_same_subject_proves_nothing(acting_ground: Ground) -> None:
    await acting_ground.executor.execute(acting_ground.command("c1"))

    found = await acting_ground.executor.reconcile(acting_ground.command("c2"))

    assert found.state == "absent"


async def test_a_target_that_cannot_say_leaves_it_unknown(acting_ground: Ground) -> None:
    if not acting_ground.can_say_unknown:
        return
    await acting_ground.say_nothing()

    found = await acting_ground.executor.reconcile(acting_ground.command("c1"))

    assert found.state == "unknown"


async def test_giving_up_an_attempt_leaves_nothing_of_it_running(acting_ground: Ground) -> None:
    await acting_ground.hang()

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await acting_ground.executor.execute(acting_ground.command("c1"))

    await acting_ground.at_rest()


async def test_what_has_to_be_bounded_is_bounded(ground: Ground) -> None:
    executor = ground.executor

    assert 0 < executor.attempt_timeout_s < 3600
    assert executor.settle_s >= 0
    assert 1 <= executor.attempts_max <= 20
    assert 1 <= executor.concurrency_max <= 1_000
