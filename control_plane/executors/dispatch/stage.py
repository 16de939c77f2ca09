"""One stage of dispatch: gathers what is waiting and works on it in one go."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from control_plane.errors import StorageFull, TemporaryError
from control_plane.executors.dispatch.bounds import DispatchBounds
from control_plane.executors.dispatch.counters import DispatchCounters
from control_plane.ports.clock import Clock

T = TypeVar("T")
A = TypeVar("A")

_log = logging.getLogger(__name__)


class Stage(Generic[T]):
    """Whatever was put while the last batch was worked on is the next batch."""

    def __init__(self, work: Callable[[list[T]], Awaitable[None]], batch_max: int) -> None:
        self._work = work
        self._batch_max = batch_max
        self._waiting: list[T] = []
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def put(self, item: T) -> None:
        """Have an item worked on soon."""
        self._waiting.append(item)
        self._idle.clear()
        self._wake.set()

    async def run(self) -> None:
        """Go on until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                batch = self._waiting[: self._batch_max]
                del self._waiting[: self._batch_max]
                await self._work(batch)
            self._idle.set()

    async def idle(self) -> None:
        """Wait until nothing waits and nothing is worked on."""
        await self._idle.wait()


class Patience:
    """Tries again what ledger or log could not take, until they can."""

    def __init__(self, clock: Clock, bounds: DispatchBounds, counters: DispatchCounters) -> None:
        self._clock = clock
        self._bounds = bounds
        self._counters = counters

    async def until_done(self, call: Callable[[], Awaitable[A]]) -> A:
        """The call's answer, however long that takes."""
        pause_s = self._bounds.retry_first_s
        while True:
            try:
                return await call()
            except (TemporaryError, StorageFull) as error:
                self._counters.unavailable += 1
                _log.warning("dispatch waits and tries again", extra={"why": str(error), "pause_s": pause_s})
                await self._clock.sleep(pause_s)
                pause_s = min(2 * pause_s, self._bounds.retry_max_s)
