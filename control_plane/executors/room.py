"""A thread with an event loop of its own, in which an executor of the user's is called.

Whatever the call raises is contained here, and nothing that it does can hold up who asked.
"""

import asyncio
import contextlib
import ctypes
import logging
import threading
from collections.abc import Awaitable, Callable
from typing import Any

from msgspec import Struct

from control_plane.sdk import Attempt, Command, Executor, Found

RESPOND_WITHIN_S = 0.2
"""A thread that does not answer for so long is blocked."""

_log = logging.getLogger(__name__)

Made = Callable[[], Executor]


class _TimeIsUp(BaseException):
    """Raised inside a thread that does not come back; no `except Exception` of the user's stops it."""


class Asked(Struct):
    """One call: whether it was begun, and whether anybody still waits for it. Written by one thread each."""

    task: "asyncio.Task[Any] | None" = None
    begun: bool = False
    given_up: bool = False


class Unanswered(Struct, frozen=True):
    """There is no answer. `begun` says whether something may have been done."""

    begun: bool
    why: str


class Room:
    """A thread with an event loop, and the executor in it."""

    def __init__(self, name: str, executor: Executor | None, make: Made) -> None:
        self.started = False
        self._over = False
        self._executor = executor
        self._make = make
        self._acting_on: set[str] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._live, name=f"executor {name}", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the thread is there."""
        return self._thread.is_alive()

    @property
    def usable(self) -> bool:
        """Whether it takes up anything more, unless it is blocked."""
        return self.alive and not self._over

    def acts_on(self, command: Command) -> bool:
        """Whether an attempt of it has begun and not ended."""
        return command.lineage.message_id in self._acting_on

    def ask(self, asked: Asked, call: Callable[[], Awaitable[Any]]) -> "asyncio.Future[Any]":
        """Have a call made in the thread; done with its answer."""
        here = asyncio.get_running_loop()
        answer = here.create_future()

        def deliver(task: "asyncio.Task[Any]") -> None:
            if not task.cancelled():
                with contextlib.suppress(RuntimeError):  # Our own loop is closed: nobody waits any more.
                    here.call_soon_threadsafe(_set, answer, task.result())

        def begin() -> None:
            if not asked.given_up:
                asked.task = self._loop.create_task(self._contained(asked, call))
                asked.task.add_done_callback(deliver)

        self._tell(begin)
        return answer

    def give_up(self, asked: Asked) -> None:
        """Nobody waits for a call any more."""
        self._tell(lambda: asked.task.cancel() if asked.task else None)

    async def responds(self) -> bool:
        """Whether the thread takes anything up."""
        answered, here = asyncio.Event(), asyncio.get_running_loop()
        self._tell(here.call_soon_threadsafe, answered.set)
        try:
            await asyncio.wait_for(answered.wait(), RESPOND_WITHIN_S)
        except TimeoutError:
            return False
        return True

    def interrupt(self) -> None:
        """Have the thread end: Python code at once, anything else when it comes back to Python."""
        ident = ctypes.c_ulong(self._thread.ident or 0)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ident, ctypes.py_object(_TimeIsUp))
        self._tell(self._loop.stop)

    async def end(self) -> None:
        self._tell(self._loop.stop)
        await asyncio.to_thread(self._thread.join, RESPOND_WITHIN_S)

    def _tell(self, call: Callable[..., object], *args: Any) -> None:
        with contextlib.suppress(RuntimeError):  # Its loop is closed: the thread has ended.
            self._loop.call_soon_threadsafe(call, *args)

    # What runs in the thread.

    async def start(self) -> None:
        self._executor = self._executor or self._make()
        await self._executor.start()
        self.started = True

    async def execute(self, command: Command) -> Attempt:
        assert self._executor is not None, "a room is opened before anything is asked of it"
        self._acting_on.add(command.lineage.message_id)
        try:
            return await self._executor.execute(command)
        finally:
            self._acting_on.discard(command.lineage.message_id)

    async def reconcile(self, command: Command) -> Found:
        assert self._executor is not None, "a room is opened before anything is asked of it"
        return await self._executor.reconcile(command)

    async def stop(self) -> None:
        if self._executor is not None:
            await self._executor.stop()

    async def _contained(self, asked: Asked, call: Callable[[], Awaitable[Any]]) -> Any:
        if self._over:
            return Unanswered(False, "its thread has ended")
        asked.begun = True
        try:
            return await call()
        except asyncio.CancelledError:
            if asked.given_up:
                raise
            return _raised("CancelledError")
        except _TimeIsUp:
            return _raised("nothing in time")
        except BaseException as error:  # noqa: BLE001 - the user's code may raise anything, and leave
            _log.exception("an executor raised")
            said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            return _raised(said)

    def _live(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        except BaseException:  # noqa: BLE001 - raised in a callback of the user's, or by `interrupt`: either way it is over
            _log.exception("an executor's thread has ended")
        self._over = True
        try:
            self._let_go()
        finally:
            self._loop.close()

    def _let_go(self) -> None:
        left = asyncio.all_tasks(self._loop)
        for task in left:
            task.cancel()
        if left:
            self._loop.run_until_complete(asyncio.wait(left, timeout=RESPOND_WITHIN_S))


def _set(answer: "asyncio.Future[Any]", value: object) -> None:
    if not answer.done():
        answer.set_result(value)


def _raised(said: str) -> Unanswered:
    return Unanswered(True, f"the executor raised {said}")
