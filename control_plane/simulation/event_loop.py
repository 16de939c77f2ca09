"""An asyncio event loop in which time is virtual and processes can be killed, paused and interleaved by a seed.

The real code runs in it unchanged. Each process keeps the order that asyncio promises; which process runs next is
drawn. There are no threads and no sockets: whoever wants them is refused.
"""

import asyncio
import contextlib
import heapq
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context, ContextVar, copy_context
from random import Random
from typing import Any, TypeVar

HANDLES_MAX = 3_000_000
"""Turns of one run: whoever needs more turns in circles without letting time pass."""

T = TypeVar("T")


class Stuck(AssertionError):
    """Nothing is left to do and yet the run is not over, or there is no end to what is to do."""


class Process:
    """What lives and dies as one. A dead one runs no further line of code; a paused one runs them later.

    `skew_ms` is how far its wall clock is off.
    """

    def __init__(self, name: str, number: int = 0) -> None:
        self.name = name
        self.number = number
        self.alive = True
        self.paused = False
        self.skew_ms = 0
        self.ready: deque[asyncio.Handle] = deque()
        self.tasks: list[asyncio.Task[Any]] = []

    def __repr__(self) -> str:
        return f"{self.name}.{self.number}"


_current: ContextVar[Process | None] = ContextVar("process", default=None)


class VirtualLoop(asyncio.AbstractEventLoop):
    """Runs handles, one at a time; moves time on when nobody has anything to do."""

    def __init__(self, random: Random) -> None:
        self.world = Process("world")
        self.problems: list[str] = []
        """What nobody caught, of processes that were alive."""
        self._random = random
        self._now_us = 0
        self._timers: list[tuple[int, int, Process, asyncio.TimerHandle]] = []
        self._timer_count = 0
        self._processes: list[Process] = [self.world]
        self._buried: list[asyncio.Task[Any]] = []
        self._running = False
        self._closed = False

    @property
    def now_us(self) -> int:
        """Microseconds since the run began."""
        return self._now_us

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run until `main` is over; whatever else is still under way ends with it, as by a kill."""
        asyncio._set_running_loop(self)
        self._running = True
        try:
            task = self._in(self.world).run(self.create_task, main)
            for _ in range(HANDLES_MAX):
                if task.done():
                    return task.result()
                self._turn()
            raise Stuck(f"there is no end to it: {HANDLES_MAX} turns by {self._now_us / 1e6:.3f} s")
        finally:
            self._running, self._closed = False, True
            asyncio._set_running_loop(None)
            self._end_all()

    def spawn(self, process: Process, main: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Start a process with its first task."""
        if process not in self._processes:
            self._processes.append(process)
        return self._in(process).run(self.create_task, main)

    def kill(self, process: Process) -> None:
        """As by SIGKILL: not one further line of it runs."""
        process.alive = False
        process.ready.clear()
        # They must not be collected while the run goes on: whatever they would tidy up then is not tidied up by a kill.
        self._buried += process.tasks
        process.tasks = []
        self._processes.remove(process)

    # What asyncio calls.

    def time(self) -> float:
        """Seconds since the run began."""
        return self._now_us / 1e6

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """Run it in the process that asks, after all that this process was to run before."""
        context = copy_context() if context is None else context
        handle = asyncio.Handle(callback, args, self, context)
        process = context.get(_current) or self.world
        if process.alive and not self._closed:
            process.ready.append(handle)
        return handle

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Run it after so much virtual time."""
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Run it at a virtual time."""
        context = copy_context() if context is None else context
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        process = context.get(_current) or self.world
        if process.alive and not self._closed:
            self._timer_count += 1
            heapq.heappush(self._timers, (round(when * 1e6), self._timer_count, process, handle))
        return handle

    def create_future(self) -> "asyncio.Future[Any]":
        """A future of this loop."""
        return asyncio.Future(loop=self)

    def create_task(
        self, coro: Generator[Any, None, T] | Coroutine[Any, Any, T], *, name: str | None = None, context: Any = None
    ) -> "asyncio.Task[T]":
        """A task of the process that asks."""
        task: asyncio.Task[T] = asyncio.Task(coro, loop=self, name=name or "task", context=context)
        tasks = (_current.get() or self.world).tasks
        tasks.append(task)
        if len(tasks) > 500:
            tasks[:] = [one for one in tasks if not one.done()]
        return task

    def get_debug(self) -> bool:
        """Never."""
        return False

    def is_running(self) -> bool:
        """Whether `run` is under way."""
        return self._running

    def is_closed(self) -> bool:
        """Whether `run` is over."""
        return self._closed

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Something raised and nobody was there to catch it."""
        if not self._closed:
            self.problems.append(f"{context.get('message')}: {context.get('exception')!r}")

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """It stays in the heap until its time; nobody waits for it."""

    def _in(self, process: Process) -> Context:
        context = copy_context()
        context.run(_current.set, process)
        return context

    def _turn(self) -> None:
        able = [process for process in self._processes if process.ready and not process.paused]
        if not able:
            self._let_time_pass()
            return
        process = able[0] if len(able) == 1 else able[int(self._random.random() * len(able))]
        handle = process.ready.popleft()
        if not handle.cancelled():
            handle._run()

    def _let_time_pass(self) -> None:
        while self._timers:
            when_us, _, process, handle = heapq.heappop(self._timers)
            if handle.cancelled() or not process.alive:
                continue
            self._now_us = max(self._now_us, when_us)
            process.ready.append(handle)
            while self._timers and self._timers[0][0] <= self._now_us:
                _, _, process, handle = heapq.heappop(self._timers)
                if process.alive and not handle.cancelled():
                    process.ready.append(handle)
            return
        raise Stuck(f"everybody waits for ever, by {self._now_us / 1e6:.3f} s")

    def _end_all(self) -> None:
        for process in list(self._processes):
            self.kill(process)
        for task in self._buried:
            if not task.done():
                task._log_destroy_pending = False  # type: ignore[attr-defined]
                # One that awaits while it tidies up cannot be ended quietly, and need not be: its loop is closed.
                with contextlib.suppress(RuntimeError):
                    task.get_coro().close()
            elif not task.cancelled():
                task.exception()
        self._buried = []
