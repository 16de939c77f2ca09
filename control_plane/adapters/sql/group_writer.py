"""Gathers what waits to be written into one transaction: whatever came while the last one ran goes into the next.

A lone call is written at once; under load a commit is shared by all that waited for it. A database that does not get
through with a round in time is given smaller ones: those who wait come back all at once after an outage.
"""

import asyncio
from typing import Any, Final

from sqlalchemy.engine import Connection

from control_plane.adapters.sql.runner import DATABASE_AWAY, Runner, T, Work

WORKS_PER_ROUND_MAX: Final = 64


class GroupWriter:
    """Writes through a runner, one round at a time."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._waiting: list[tuple[Work[Any], asyncio.Future[Any]]] = []
        self._rounds: asyncio.Task[None] | None = None
        self._works_max = WORKS_PER_ROUND_MAX
        self.rounds_done = 0
        self.works_done = 0

    async def do(self, work: Work[T]) -> T:
        """Have a piece of work done in the next round. Giving up waiting does not stop it.

        It may be undone and done again, so it must touch nothing but the database.
        """
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append((work, done))
        if self._rounds is None:
            self._rounds = asyncio.create_task(self._run(), name="sql group writer")
        return await done

    async def close(self) -> None:
        """Wait until nothing waits."""
        while self._rounds is not None:
            await self._rounds

    async def _run(self) -> None:
        try:
            while self._waiting:
                works = self._waiting[: self._works_max]
                del self._waiting[: self._works_max]
                await self._round(works)
        finally:
            self._rounds = None

    async def _round(self, works: list[tuple[Work[Any], asyncio.Future[Any]]]) -> None:
        try:
            answers = await self._runner.run(_joined([work for work, _ in works]))
        except Exception as exc:  # noqa: BLE001 - whatever it is, it belongs to those who wait for the answer
            if len(works) == 1 or isinstance(exc, DATABASE_AWAY):
                self._works_max = max(1, len(works) // 2)
                for _, done in works:
                    _fail(done, exc)
                return
            # One of them may be at fault: each by itself, so that it fails nobody else.
            for alone in works:
                await self._round([alone])
            return
        self._works_max = min(WORKS_PER_ROUND_MAX, 2 * self._works_max)
        self.rounds_done += 1
        self.works_done += len(works)
        for (_, done), answer in zip(works, answers, strict=True):
            if not done.done():
                done.set_result(answer)


def _joined(works: list[Work[Any]]) -> Work[list[Any]]:
    def round_of(connection: Connection) -> list[Any]:
        return [work(connection) for work in works]

    return round_of


def _fail(done: "asyncio.Future[Any]", exc: Exception) -> None:
    if not done.done():
        done.set_exception(exc)
