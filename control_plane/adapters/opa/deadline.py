"""A deadline that counts only the time in which this process was awake to see an answer."""

import asyncio
from types import TracebackType
from typing import Final

SLICES: Final = 5
"""The deadline runs in slices, each begun when the one before was seen to end: who stood still meanwhile, for another
batch or for the collector, loses one of them and not the answer that came."""


class Overdue(Exception):
    """The deadline is over."""


class Deadline:
    """`async with`: cancels what runs inside when it is over, and raises Overdue in its place."""

    def __init__(self, timeout_s: float) -> None:
        self._slice_s = timeout_s / SLICES
        self._left = SLICES
        self._over = False

    async def __aenter__(self) -> "Deadline":
        task = asyncio.current_task()
        assert task is not None, "only what runs in a task can be late"
        self._task = task
        self._loop = asyncio.get_running_loop()
        self._cancelled_before = task.cancelling()
        self._tick = self._loop.call_later(self._slice_s, self._passed)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._tick.cancel()
        if not self._over:
            return
        # A cancellation from outside that came as well goes on as one.
        if self._task.uncancel() <= self._cancelled_before and kind is asyncio.CancelledError:
            raise Overdue from exc

    def _passed(self) -> None:
        self._left -= 1
        if self._left:
            self._tick = self._loop.call_later(self._slice_s, self._passed)
        else:
            self._over = True
            self._task.cancel()
