"""The event loop of simulations: virtual time, order within a process, and what a kill and a pause mean."""

import asyncio
from random import Random

import pytest

from control_plane.simulation.event_loop import Process, Stuck, VirtualLoop


@pytest.fixture
def loop() -> VirtualLoop:
    return VirtualLoop(Random(1))


def test_time_passes_only_while_everybody_waits(loop: VirtualLoop) -> None:
    async def main() -> float:
        await asyncio.sleep(86_400.0)
        return asyncio.get_running_loop().time()

    assert loop.run(main()) == 86_400.0


def test_a_time_limit_strikes_in_virtual_time(loop: VirtualLoop) -> None:
    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3.0):
                await asyncio.Event().wait()
        return asyncio.get_running_loop().time()

    assert loop.run(main()) == 3.0


def test_a_process_keeps_its_order_while_processes_take_turns() -> None:
    orders = set()
    for seed in range(20):
        loop, said = VirtualLoop(Random(seed)), []

        async def tell(name: str, said: list[str] = said) -> None:
            for number in range(3):
                said.append(f"{name}{number}")
                await asyncio.sleep(0)

        async def main(loop: VirtualLoop = loop) -> None:
            await asyncio.wait([loop.spawn(Process("a"), tell("a")), loop.spawn(Process("b"), tell("b"))])

        loop.run(main())
        for name in "ab":
            assert [word for word in said if word[0] == name] == [f"{name}{number}" for number in range(3)]
        orders.add(tuple(said))
    assert len(orders) > 3


def test_a_killed_process_runs_no_further_line(loop: VirtualLoop) -> None:
    process, done = Process("a"), []

    async def live() -> None:
        try:
            await asyncio.sleep(1.0)
            done.append("worked")
        finally:
            if process.alive:
                done.append("tidied up")

    async def main() -> None:
        loop.spawn(process, live())
        await asyncio.sleep(0.5)
        loop.kill(process)
        await asyncio.sleep(5.0)

    loop.run(main())

    assert done == []


def test_a_paused_process_goes_on_where_it_was(loop: VirtualLoop) -> None:
    process, woke_s = Process("a"), []

    async def live() -> None:
        await asyncio.sleep(1.0)
        woke_s.append(asyncio.get_running_loop().time())

    async def main() -> None:
        loop.spawn(process, live())
        await asyncio.sleep(0.5)
        process.paused = True
        await asyncio.sleep(9.5)
        process.paused = False
        await asyncio.sleep(0.1)

    loop.run(main())

    assert woke_s == [10.0]


def test_waiting_for_ever_is_noticed(loop: VirtualLoop) -> None:
    with pytest.raises(Stuck, match="waits for ever"):
        loop.run(asyncio.Event().wait())


def test_turning_in_circles_is_noticed(loop: VirtualLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("control_plane.simulation.event_loop.HANDLES_MAX", 1_000)

    async def spin() -> None:
        while True:  # noqa: ASYNC110 - that is what is to be noticed
            await asyncio.sleep(0)

    with pytest.raises(Stuck, match="no end"):
        loop.run(spin())


def test_threads_are_refused(loop: VirtualLoop) -> None:
    async def main() -> None:
        await asyncio.to_thread(print)

    with pytest.raises(NotImplementedError):
        loop.run(main())
