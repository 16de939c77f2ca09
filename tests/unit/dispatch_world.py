"""A world for dispatch: targets that fail as told and count what was done to them, and a process that can be killed."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from control_plane.adapters.memory.clock import VirtualClock
from control_plane.adapters.sql import Database, SqlLedger
from control_plane.errors import InvalidMessage
from control_plane.executors.dispatch import Dispatch, DispatchBounds
from control_plane.messages import Command, Outcome, topics
from control_plane.messages.wire import encode
from control_plane.ports.backbone import Record
from control_plane.ports.executor import Attempt, Found
from tests.contract.ledger.commands import a_command

PATIENCE_S = 20.0
"""Real time after which a test that waits has failed."""

NEVER_MS = 10**15
Behaviour = Callable[[Command], Awaitable[Attempt]]


class Killed(BaseException):
    """The process dies here."""


class Target:
    """An executor and its target: counts effects by itself and does not deduplicate."""

    def __init__(self, name: str = "target", **settings: Any) -> None:
        self.name = name
        self.attempt_timeout_s = 5.0
        self.settle_s = 0.0
        self.attempts_max = 3
        self.backoff_s = 1.0
        self.concurrency_max = 64
        self.effects: Counter[str] = Counter()
        self.tries: Counter[str] = Counter()
        self.looks = 0
        self.looked = asyncio.Event()
        self.under_way = 0
        self.most_under_way = 0
        self.behave: Behaviour = self.succeed
        self.found: Found | None = None
        vars(self).update(settings)

    async def start(self) -> None:
        """Nothing to open."""

    async def stop(self) -> None:
        """Nothing to close."""

    async def execute(self, command: Command) -> Attempt:
        self.tries[command.lineage.message_id] += 1
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            return await self.behave(command)
        finally:
            self.under_way -= 1

    async def reconcile(self, command: Command) -> Found:
        self.looks += 1
        self.looked.set()
        done = self.effects[command.lineage.message_id] > 0
        return self.found or Found(state="done" if done else "absent", detail="looked")

    def act(self, command: Command) -> None:
        """Have the effect."""
        self.effects[command.lineage.message_id] += 1

    async def succeed(self, command: Command) -> Attempt:
        self.act(command)
        return Attempt(result="succeeded", detail="done")

    async def lose_the_answer(self, command: Command) -> Attempt:
        self.act(command)
        return Attempt(result="unknown", detail="connection reset")

    async def refuse_connections(self, command: Command) -> Attempt:
        return Attempt(result="nothing_done", detail="connection refused")

    async def fail(self, command: Command) -> Attempt:
        return Attempt(result="failed", detail="no such service")

    async def explode(self, command: Command) -> Attempt:
        raise RuntimeError("a bug in a plug-in")

    async def hang(self, command: Command) -> Attempt:
        await asyncio.Event().wait()
        raise AssertionError("unreachable")


class World:
    """One machine: a database, a clock, targets, and the outcomes that were published."""

    def __init__(self, folder: Path) -> None:
        self.clock = VirtualClock(1_000_000)
        self.target = Target()
        self.targets = {"target": self.target}
        self.outcomes: list[Outcome] = []
        self.dead_letters: list[tuple[int, str]] = []
        self.halted: str | None = None
        self.publish_fails: list[Exception] = []
        self.fault: tuple[str, int] = ("", 0)
        self.bounds: dict[str, Any] = {}
        self._url = f"sqlite+aiosqlite:///{folder}/audit.db"
        self._arrived = asyncio.Event()
        self.database: Database | None = None
        self.dispatch: Dispatch | None = None

    async def up(self, *, sole: bool = True, lease_s: float = 30.0, **hooks: Any) -> Dispatch:
        """Start the service."""
        self.database = self.database or await Database.open(self._url)
        self.dispatch = Dispatch(
            ledger=SqlLedger(self.database, sole=sole, lease_s=lease_s),
            executors=self.targets,
            clock=self.clock,
            publish=self._publish,
            dead_letter=self._dead_letter,
            halted=lambda _command: self.halted,
            fault_point=self._fault_point,
            bounds=DispatchBounds(**self.bounds),
            **hooks,
        )
        await self.dispatch.start()
        return self.dispatch

    async def kill(self) -> None:
        """The process dies as with SIGKILL: nothing is tidied up. What was committed stays."""
        assert self.dispatch is not None
        acting = self.dispatch._acting
        tasks = [*acting._calls, *acting._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        failed = self.dispatch.failed
        if failed is not None and failed.done():
            failed.exception()
        self.dispatch = None
        self.fault = ("", 0)

    async def down(self) -> None:
        """Stop whatever runs."""
        if self.dispatch is not None:
            await self.dispatch.stop()
        if self.database is not None:
            await self.database.close()

    async def deliver(self, *commands: Command, offset: int = 0, epoch: int | None = None) -> None:
        """Give commands to the service as one batch."""
        assert self.dispatch is not None
        headers = () if epoch is None else (("epoch", str(epoch).encode()),)
        records = [a_record(encode(c), offset + n, headers) for n, c in enumerate(commands)]
        await self.dispatch.take(topics.COMMANDS, 0, records)

    async def published(self, count: int) -> list[Outcome]:
        """Wait until so many outcomes were published; time stands still."""
        async with asyncio.timeout(PATIENCE_S):
            while len(self.outcomes) < count:
                self._arrived.clear()
                await self._arrived.wait()
        return self.outcomes

    async def as_time_passes(self, waiting: Awaitable[Any], step_ms: int = 100) -> Any:
        """Let virtual time pass until something has happened."""
        happening = asyncio.ensure_future(waiting)
        async with asyncio.timeout(PATIENCE_S):
            while not happening.done():
                self.clock.advance(step_ms)
                await asyncio.wait({happening}, timeout=0.002)
        return happening.result()

    async def died(self) -> None:
        """Wait for the fault to strike."""
        assert self.dispatch is not None
        assert self.dispatch.failed is not None
        async with asyncio.timeout(PATIENCE_S):
            try:
                await asyncio.shield(self.dispatch.failed)
            except Killed:
                return
        raise AssertionError("the fault did not strike")

    async def _publish(self, outcomes: Sequence[Outcome]) -> None:
        await asyncio.sleep(0)
        if self.publish_fails:
            raise self.publish_fails.pop(0)
        self.outcomes += outcomes
        self._arrived.set()

    async def _dead_letter(self, record: Record, reason: InvalidMessage) -> None:
        self.dead_letters.append((record.offset, reason.code))

    def _fault_point(self, name: str) -> None:
        point, left = self.fault
        if name == point:
            self.fault = (point, left - 1)
            if left == 1:
                raise Killed(name)


def a_record(value: bytes, offset: int = 0, headers: tuple[tuple[str, bytes], ...] = ()) -> Record:
    """A record of `commands.v1`."""
    return Record(
        topic=topics.COMMANDS, partition=0, offset=offset, key=b"", value=value, recorded_ms=1_000_000, headers=headers
    )


def command(command_id: str = "c1", subject: str = "service/web-1", **changes: Any) -> Command:
    """A command for the target, due for ever unless said."""
    return a_command(command_id, subject, **{"executor": "target", "deadline_ms": NEVER_MS, **changes})
