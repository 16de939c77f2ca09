"""Time, where something outside the pure core needs it."""

from typing import Protocol


class Clock(Protocol):
    """Wall-clock time. The core never asks: its time comes from the record."""

    def now_ms(self) -> int:
        """Milliseconds since the epoch."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""
