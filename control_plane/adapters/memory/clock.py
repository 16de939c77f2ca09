"""Time that passes only when it is told to."""

import asyncio

START_MS = 1_767_225_600_000
"""Where virtual time begins: 2026-01-01T00:00:00Z."""


class VirtualClock:
    """The Clock port for tests and simulation."""

    def __init__(self, now_ms: int = START_MS) -> None:
        self._now_ms = now_ms
        self._sleepers: list[tuple[int, asyncio.Event]] = []

    def now_ms(self) -> int:
        """Milliseconds since the epoch."""
        return self._now_ms

    def advance(self, by_ms: int) -> None:
        """Let time pass; who slept so long wakes up when the event loop next runs."""
        assert by_ms >= 0, "time never goes back"
        self._now_ms += by_ms
        for due_ms, wake in self._sleepers:
            if due_ms <= self._now_ms:
                wake.set()

    async def sleep(self, seconds: float) -> None:
        """Wait for virtual time to pass."""
        sleeper = (self._now_ms + round(seconds * 1000), asyncio.Event())
        self._sleepers.append(sleeper)
        try:
            await sleeper[1].wait()
        finally:
            self._sleepers.remove(sleeper)
