"""An executor of the user's, in a thread of its own: it may block, raise or answer nonsense, and the others go on.

Called by dispatch like any executor; what the user wrote is called by nothing else.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec

from control_plane.executors.room import Asked, Made, Room, Unanswered
from control_plane.sdk import Attempt, Command, Executor, Found

ROOMS_MAX = 4
"""Threads of one executor that may be blocked; beyond them nothing is begun until one is free again."""
SPARE_S = 1.0
"""What dispatch waits beyond the executor's own time, so that this room can say what became of it."""
STOP_WITHIN_S = 5.0
DETAIL_CHARS_MAX = 500

_log = logging.getLogger(__name__)

Answer = TypeVar("Answer", Attempt, Found)


class Apart(Executor):
    """One executor in one thread, in the next one when that is blocked."""

    def __init__(self, make: Made, *, stop_within_s: float = STOP_WITHIN_S) -> None:
        """`make` makes the user's executor; it is asked for another one only when the last is blocked."""
        first = make()
        self.name = first.name
        self.attempt_timeout_s = first.attempt_timeout_s + SPARE_S
        self.settle_s = first.settle_s
        self.attempts_max = first.attempts_max
        self.backoff_s = first.backoff_s
        self.concurrency_max = first.concurrency_max
        self._timeout_s = first.attempt_timeout_s
        self._stop_within_s = stop_within_s
        self._make = make
        self._next: Executor | None = first
        self._room: Room | None = None
        self._blocked: list[Room] = []
        self._opening = asyncio.Lock()

    async def start(self) -> None:
        """Open it. One that cannot be opened does not keep the others from starting: each command tries again."""
        await self._open_room()

    async def execute(self, command: Command) -> Attempt:
        room = await self._open_room()
        if isinstance(room, str):
            return Attempt(result="nothing_done", detail=room)
        answer = await self._ask(room, room.execute, command)
        if isinstance(answer, Unanswered):
            return Attempt(result="unknown" if answer.begun else "nothing_done", detail=answer.why)
        return _checked(answer, Attempt, lambda why: Attempt(result="unknown", detail=why))

    async def reconcile(self, command: Command) -> Found:
        if any(room.acts_on(command) for room in (self._room, *self._blocked) if room is not None):
            return Found(state="unknown", detail="an attempt of it is still under way")
        room = await self._open_room()
        if isinstance(room, str):
            return Found(state="unknown", detail=room)
        answer = await self._ask(room, room.reconcile, command)
        if isinstance(answer, Unanswered):
            return Found(state="unknown", detail=answer.why)
        return _checked(answer, Found, lambda why: Found(state="unknown", detail=why))

    async def stop(self) -> None:
        room, self._room = self._room, None
        if room is not None:
            await self._within(self._stop_within_s, room, Asked(), room.stop)
            await room.end()

    async def _open_room(self) -> Room | str:
        """The thread that is not blocked, its executor started; or why there is none."""
        async with self._opening:
            self._blocked = [room for room in self._blocked if room.alive]
            if self._room is None or not self._room.usable:
                if len(self._blocked) >= ROOMS_MAX:
                    return f"{ROOMS_MAX} threads of the executor are blocked"
                self._room = Room(self.name, self._next, self._make)
                self._next = None
            room = self._room
            if room.started:
                return room
            problem = await self._within(self._timeout_s, room, Asked(), room.start)
            if problem is None:
                return room
            why = f"it cannot be started: {problem.why if isinstance(problem, Unanswered) else problem}"
            _log.error("an executor cannot be started", extra={"executor": self.name, "why": why})
            return why[:DETAIL_CHARS_MAX]

    async def _ask(self, room: Room, call: Callable[[Command], Awaitable[Any]], command: Command) -> Any:
        asked = Asked()
        answer = await self._within(self._timeout_s, room, asked, lambda: call(command))
        if isinstance(answer, Unanswered) and not asked.begun:
            return Unanswered(False, "another command blocks the executor")
        return answer

    async def _within(self, timeout_s: float, room: Room, asked: Asked, call: Callable[[], Awaitable[Any]]) -> Any:
        """The call's answer, or Unanswered; a thread that is blocked is left to itself."""
        answer = room.ask(asked, call)
        try:
            await asyncio.wait([answer], timeout=timeout_s)
        finally:
            asked.given_up = True
            if not answer.done():
                room.give_up(asked)
        if answer.done():
            return answer.result()
        if not await room.responds():
            self._leave(room)
        return Unanswered(asked.begun, f"no answer within {timeout_s:g} s")

    def _leave(self, room: Room) -> None:
        if self._room is room:
            self._room = None
            self._blocked.append(room)
            room.interrupt()
            _log.error("an executor blocks its thread; it is given another one", extra={"executor": self.name})


def _checked(answer: Any, kind: type[Answer], otherwise: Callable[[str], Answer]) -> Answer:
    """The answer, if it is one."""
    if not isinstance(answer, kind):
        return otherwise(f"the executor answered {type(answer).__name__}, not {kind.__name__}")
    try:
        fields = {name: getattr(answer, name) for name in kind.__struct_fields__}
        checked = msgspec.convert(fields, kind)
    except msgspec.ValidationError as wrong:
        return otherwise(f"the executor answered what no {kind.__name__} may hold: {wrong}"[:DETAIL_CHARS_MAX])
    return msgspec.structs.replace(checked, detail=checked.detail[:DETAIL_CHARS_MAX])
