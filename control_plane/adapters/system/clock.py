"""The Clock port on this machine's clock."""

import asyncio
import time
from typing import Final

_RUNNING: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Goes on while the machine sleeps, where the system has such a clock."""


class SystemClock:
    """Wall-clock time."""

    def now_ms(self) -> int:
        """Milliseconds since the epoch."""
        return time.time_ns() // 1_000_000

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


class SharedClock(SystemClock):
    """The time of something that several processes use: as it was told once, and from there by a clock that nobody
    sets. So processes on machines whose clocks differ, or jump, agree on it."""

    def __init__(self, told_ms: int) -> None:
        """`told_ms` is what it is now, milliseconds since the epoch."""
        self._ahead_ms = told_ms - self._running_ms()

    def now_ms(self) -> int:
        """Milliseconds since the epoch."""
        return self._running_ms() + self._ahead_ms

    @staticmethod
    def _running_ms() -> int:
        return time.clock_gettime_ns(_RUNNING) // 1_000_000
