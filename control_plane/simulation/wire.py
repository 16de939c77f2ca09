"""The only way from a process to anything outside it: each call takes time, may fail, and may be the last.

What a call does happens at one instant, in the middle: before it nothing was done, after it only the answer is missing.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from random import Random
from typing import TypeVar

from control_plane.errors import BackboneUnavailable, LedgerUnavailable, TemporaryError
from control_plane.simulation.event_loop import Process, VirtualLoop
from control_plane.simulation.plan import Strike
from control_plane.simulation.trace import Trace

T = TypeVar("T")

SLOW_CALLS_SHARE = 0.01
"""How many calls take a hundred times as long as the others."""

_RAISES: dict[str, type[TemporaryError]] = {"ledger": LedgerUnavailable}


class Wire:
    """All calls of all processes. `down` names what cannot be reached now: `log`, `ledger`."""

    def __init__(
        self, loop: VirtualLoop, trace: Trace, random: Random, latency_ms: float, strikes: Iterable[Strike]
    ) -> None:
        self.down: set[str] = set()
        self.calm = False
        self._loop = loop
        self._trace = trace
        self._random = random
        self._latency_s = latency_ms / 1000
        self._strikes: defaultdict[str, deque[Strike]] = defaultdict(deque)
        for strike in sorted(strikes, key=lambda one: one.at_ms):
            self._strikes[strike.call].append(strike)

    async def call(self, process: Process, name: str, act: Callable[[], T]) -> T:
        """Do it over there, once. Raises BackboneUnavailable or LedgerUnavailable; then it may have been done."""
        room = name.partition(".")[0]
        await asyncio.sleep(self._delay_s())
        strike = self._next(name)
        how = strike.how if strike is not None else ""
        if room in self.down or how == "lose request":
            await self._away(process, name, room, "nothing was done")
        if how == "die before":
            await self._die(process, name, "before")
        if strike is not None and how == "delay":
            self._trace.fault("delay", repr(process), f"{name} takes {strike.delay_ms} ms")
            await asyncio.sleep(strike.delay_ms / 1000)
        answer = act()
        if strike is not None and how == "freeze":
            self._freeze(process, name, strike.delay_ms)
        if how == "die after":
            await self._die(process, name, "after")
        if how == "lose answer":
            await self._away(process, name, room, "the answer was lost")
        await asyncio.sleep(self._delay_s())
        return answer

    def strikes(self, name: str) -> Strike | None:
        """What befalls the next call of this name, for those who see to it themselves."""
        return self._next(name)

    def _next(self, name: str) -> Strike | None:
        waiting = self._strikes.get(name)
        if not waiting or self.calm or waiting[0].at_ms * 1000 > self._loop.now_us:
            return None
        return waiting.popleft()

    def _delay_s(self) -> float:
        drawn = self._random.random()
        slow = drawn < SLOW_CALLS_SHARE and not self.calm
        return self._latency_s * (100 * self._random.random() if slow else 0.2 + drawn)

    async def _away(self, process: Process, name: str, room: str, what: str) -> None:
        kind = "answer lost" if what == "the answer was lost" else f"{room} away"
        self._trace.fault(kind, repr(process), name)
        raise _RAISES.get(room, BackboneUnavailable)(f"{name} failed in the simulation: {what}. Try again.")

    def _freeze(self, process: Process, name: str, for_ms: int) -> None:
        """It is stopped before it hears the answer, and wakes up when the world may have moved on."""
        self._trace.fault("freeze", repr(process), f"after {name}, {for_ms} ms")
        process.paused = True
        self._loop.spawn(self._loop.world, _wake(process, for_ms / 1000))

    async def _die(self, process: Process, name: str, when: str) -> None:
        self._trace.fault(f"crash {when} {name}", repr(process))
        self._loop.kill(process)
        await self._loop.create_future()


async def _wake(process: Process, after_s: float) -> None:
    await asyncio.sleep(after_s)
    process.paused = False
