"""An executor of the user's may block, raise, leave or answer nonsense: the loop and the others go on."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from control_plane.executors.apart import ROOMS_MAX, Apart
from control_plane.sdk import Attempt, Command, Executor, Found
from tests.contract.ledger.commands import a_command

COMMAND = a_command("c1")


class Written(Executor):
    """What a user wrote: does what a test says, and notes in which thread."""

    name = "written"
    attempt_timeout_s = 0.3
    settle_s = 0.5
    attempts_max = 4
    backoff_s = 0.25
    concurrency_max = 3

    def __init__(self, behave: Callable[[Command], Any]) -> None:
        self._behave = behave
        self.calls: list[str] = []

    async def start(self) -> None:
        self.calls.append("start")

    async def execute(self, command: Command) -> Attempt:
        self.calls.append(f"execute {command.lineage.message_id}")
        answer = self._behave(command)
        return await answer if asyncio.iscoroutine(answer) else answer

    async def reconcile(self, command: Command) -> Found:
        self.calls.append(f"reconcile {command.lineage.message_id}")
        return Found(state="absent", detail="looked")

    async def stop(self) -> None:
        self.calls.append("stop")


@asynccontextmanager
async def apart(behave: Callable[[Command], Any], made: list[Written] | None = None) -> AsyncIterator[Apart]:
    made = [] if made is None else made

    def make() -> Executor:
        made.append(Written(behave))
        return made[-1]

    executor = Apart(make)
    await executor.start()
    yield executor
    await executor.stop()


async def the_loop_goes_on(call: Any) -> tuple[Any, float]:
    """The call's answer, and the longest time that the event loop was held up meanwhile."""
    longest_s = 0.0
    task = asyncio.ensure_future(call)
    while not task.done():
        before = time.perf_counter()
        await asyncio.wait([task], timeout=0.01)
        longest_s = max(longest_s, time.perf_counter() - before)
    return task.result(), longest_s


async def test_it_works_in_a_thread_of_its_own_and_says_what_the_executor_says() -> None:
    threads: list[str] = []

    def behave(command: Command) -> Attempt:
        threads.append(threading.current_thread().name)
        return Attempt(result="succeeded", detail="done")

    made: list[Written] = []
    async with apart(behave, made) as executor:
        attempt = await executor.execute(COMMAND)
        found = await executor.reconcile(COMMAND)

    assert (attempt, found) == (Attempt(result="succeeded", detail="done"), Found(state="absent", detail="looked"))
    assert threads == ["executor written"]
    assert made[0].calls == ["start", "execute c1", "reconcile c1", "stop"]
    assert (executor.name, executor.settle_s, executor.attempts_max) == ("written", 0.5, 4)
    assert (executor.backoff_s, executor.concurrency_max) == (0.25, 3)


def blocks(command: Command) -> Attempt:
    time.sleep(1.5)
    return Attempt(result="succeeded")


def spins(command: Command) -> Attempt:
    while True:
        pass


@pytest.mark.parametrize("behave", [blocks, spins])
async def test_one_that_blocks_is_given_up_in_time_and_does_not_hold_up_the_loop(
    behave: Callable[[Command], Attempt],
) -> None:
    async with apart(behave) as executor:
        attempt, longest_s = await the_loop_goes_on(executor.execute(COMMAND))

    assert attempt == Attempt(result="unknown", detail="no answer within 0.3 s")
    assert longest_s < 0.25


async def test_the_next_command_is_not_held_up_by_one_that_blocks() -> None:
    made: list[Written] = []
    async with apart(
        lambda command: blocks(command) if command is COMMAND else Attempt(result="succeeded"), made
    ) as executor:
        await executor.execute(COMMAND)
        attempt = await executor.execute(a_command("c2"))

    assert attempt.result == "succeeded"
    assert [one.calls[:2] for one in made] == [["start", "execute c1"], ["start", "execute c2"]]


async def test_absence_is_not_believed_while_the_attempt_may_still_act() -> None:
    async with apart(blocks) as executor:
        await executor.execute(COMMAND)
        while_it_blocks = await executor.reconcile(COMMAND)
        of_another = await executor.reconcile(a_command("c2"))

    assert while_it_blocks == Found(state="unknown", detail="an attempt of it is still under way")
    assert of_another.state == "absent"


async def test_a_command_that_waited_behind_a_block_was_never_begun() -> None:
    started = threading.Event()

    def behave(command: Command) -> Attempt:
        started.set()
        return blocks(command)

    async with apart(behave) as executor:
        first = asyncio.create_task(executor.execute(COMMAND))
        await asyncio.to_thread(started.wait)
        second = await executor.execute(a_command("c2"))
        await first

    assert second.result == "nothing_done"
    assert second.detail == "another command blocks the executor"


async def test_when_all_its_threads_are_blocked_nothing_is_begun() -> None:
    release = threading.Event()

    def behave(command: Command) -> Attempt:
        release.wait(10)
        return Attempt(result="succeeded")

    async with apart(behave) as executor:
        for number in range(ROOMS_MAX):
            await executor.execute(a_command(f"b{number}"))
        attempt = await executor.execute(a_command("one too many"))
        release.set()

    assert attempt.result == "nothing_done"
    assert attempt.detail == f"{ROOMS_MAX} threads of the executor are blocked"


def raises(command: Command) -> Attempt:
    raise RuntimeError("a bug")


def leaves(command: Command) -> Attempt:
    raise SystemExit(3)


def interrupts(command: Command) -> Attempt:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("behave", "detail"),
    [
        (raises, "the executor raised RuntimeError: a bug"),
        (leaves, "the executor raised SystemExit: 3"),
        (interrupts, "the executor raised KeyboardInterrupt"),
        (lambda command: None, "the executor answered NoneType, not Attempt"),
        (
            lambda command: Attempt(result="splendid"),
            "the executor answered what no Attempt may hold: Invalid enum value 'splendid' - at `$.result`",
        ),
        (
            lambda command: Attempt(result="failed", detail=7),
            "the executor answered what no Attempt may hold: Expected `str`, got `int` - at `$.detail`",
        ),
    ],
)
async def test_whatever_it_raises_or_answers_is_unknown_and_the_next_command_is_carried_out(
    behave: Callable[[Command], Any], detail: str
) -> None:
    async with apart(lambda c: behave(c) if c is COMMAND else Attempt(result="succeeded")) as executor:
        attempt = await executor.execute(COMMAND)
        after = await executor.execute(a_command("c2"))

    assert attempt == Attempt(result="unknown", detail=detail)
    assert after.result == "succeeded"


async def test_what_it_says_at_length_is_cut() -> None:
    async with apart(lambda command: Attempt(result="failed", detail="x" * 10_000)) as executor:
        assert len((await executor.execute(COMMAND)).detail) == 500


async def test_one_that_waits_is_cancelled_in_time() -> None:
    cancelled = threading.Event()

    async def wait(command: Command) -> Attempt:
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.set()
        raise AssertionError("unreachable")

    async with apart(wait) as executor:
        attempt = await executor.execute(COMMAND)
        assert await asyncio.to_thread(cancelled.wait, 5)
        found = await executor.reconcile(COMMAND)

    assert attempt == Attempt(result="unknown", detail="no answer within 0.3 s")
    assert found.state == "absent"


async def test_one_that_cannot_be_started_does_nothing_until_it_can() -> None:
    class Reluctant(Written):
        starts = 0

        async def start(self) -> None:
            Reluctant.starts += 1
            if Reluctant.starts < 3:
                raise ConnectionError("nobody there")

    executor = Apart(lambda: Reluctant(lambda command: Attempt(result="succeeded")))
    await executor.start()
    attempts = [await executor.execute(COMMAND) for _ in range(2)]
    await executor.stop()

    assert attempts == [
        Attempt(
            result="nothing_done", detail="it cannot be started: the executor raised ConnectionError: nobody there"
        ),
        Attempt(result="succeeded"),
    ]


async def test_a_stop_that_hangs_is_not_waited_for() -> None:
    class Clinging(Written):
        async def stop(self) -> None:
            await asyncio.sleep(60)

    executor = Apart(lambda: Clinging(lambda command: Attempt(result="succeeded")), stop_within_s=0.1)
    await executor.start()

    await asyncio.wait_for(executor.stop(), 2)


async def test_a_callback_that_ends_the_thread_costs_one_command_only() -> None:
    async def leave_later(command: Command) -> Attempt:
        asyncio.get_running_loop().call_soon(leaves, command)
        await asyncio.sleep(60)
        raise AssertionError("unreachable")

    async with apart(lambda c: leave_later(c) if c is COMMAND else Attempt(result="succeeded")) as executor:
        attempt = await executor.execute(COMMAND)
        while (after := await executor.execute(a_command("c2"))).result == "nothing_done":
            pass

    assert (attempt.result, after.result) == ("unknown", "succeeded")


async def test_no_thread_is_left_behind() -> None:
    async with apart(lambda command: Attempt(result="succeeded")) as executor:
        await executor.execute(COMMAND)

    assert "executor written" not in {thread.name for thread in threading.enumerate()}
