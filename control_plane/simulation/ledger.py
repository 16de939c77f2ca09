"""The Ledger port in memory: what a database would hold, and one owner's way to it.

It keeps every promise of `ports.ledger` and passes the ledgers' contract suite; what outlives a process is the `Books`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

from msgspec import Struct

from control_plane.errors import LedgerUnavailable
from control_plane.messages import Command
from control_plane.messages.outcome import Status
from control_plane.ports.ledger import Begin, Conclusion, Entry, Finished, Leased, Release, Taken, Taking

T = TypeVar("T")

Call = Callable[[str, Callable[[], Any]], Awaitable[Any]]

WAITING, BEGUN, FINISHED, PUBLISHED = range(4)


class Line(Struct, kw_only=True):
    """One command as it stands in the books."""

    command: Command
    state: int = WAITING
    owner: str | None
    taken_ms: int
    attempts: int = 0
    due_ms: int = 0
    begun_ms: int | None = None
    status: Status = "unknown"
    detail: str = ""
    finished_ms: int = 0

    def entry(self) -> Entry:
        """As an owner is given it."""
        return Entry(command=self.command, attempts=self.attempts, begun=self.state == BEGUN, begun_ms=self.begun_ms)

    def conclusion(self) -> Conclusion:
        """What it came to."""
        return Conclusion(
            command_id=self.command.lineage.message_id,
            status=self.status,
            detail=self.detail,
            attempts=self.attempts,
            begun_ms=self.begun_ms,
            finished_ms=self.finished_ms,
        )


class Books:
    """All lines in the order of their taking, the owners with their leases, and the highest epoch of each partition."""

    def __init__(self) -> None:
        self.lines: dict[str, Line] = {}
        self.leases: dict[str, int] = {}
        self.epochs: dict[int, int] = {}
        self._owners = 0

    def new_owner(self) -> str:
        """A name that nobody else has."""
        self._owners += 1
        return f"owner-{self._owners}"

    def live_of(self, subject: str) -> list[Line]:
        """The unfinished commands of a subject, in order."""
        return [line for line in self.lines.values() if line.state < FINISHED and line.command.subject == subject]

    def bury(self, gone: str) -> None:
        """What this owner held is anybody's."""
        for line in self.lines.values():
            if line.owner == gone and line.state < PUBLISHED:
                line.owner = None
        self.leases.pop(gone, None)

    def bury_lapsed(self, now_ms: int, but: str) -> None:
        """Owners whose lease is over are gone."""
        for owner in [owner for owner, until_ms in self.leases.items() if until_ms <= now_ms and owner != but]:
            self.bury(owner)


class SimulatedLedger:
    """One owner's. Each call does its work at once; a simulation puts a wire in front of it.

    An answer may be lost on that wire: whoever notices says so by `doubtful_...`.
    """

    def __init__(self, books: Books, *, lease_s: float = 30.0, sole: bool = False) -> None:
        self.owner = books.new_owner()
        self._books = books
        self._lease_ms = int(lease_s * 1000)
        self._sole = sole
        self.doubtful_entries = False
        """An answer may have been lost: what is ours may be unknown to us, so it is given again."""
        self.doubtful_outcomes = False

    async def start(self, now_ms: int) -> None:
        self._books.leases[self.owner] = now_ms + self._lease_ms
        if self._sole:
            held = {line.owner for line in self._books.lines.values() if line.owner is not None}
            for other in sorted((held | set(self._books.leases)) - {self.owner}):
                self._books.bury(other)

    async def renew(self, now_ms: int) -> None:
        self._books.leases[self.owner] = now_ms + self._lease_ms

    async def stop(self) -> None:
        self._books.bury(self.owner)

    async def take(self, batch: Sequence[Taking], *, now_ms: int, lease: bool = True) -> Taken:
        known = stale = 0
        fresh: list[Taking] = []
        met: set[str] = set()
        for taking in batch:
            command_id = taking.command.lineage.message_id
            highest = self._books.epochs.get(taking.partition, 0)
            self._books.epochs[taking.partition] = max(highest, taking.epoch)
            if command_id in self._books.lines or command_id in met:
                known += 1
                continue
            met.add(command_id)
            if taking.epoch < highest:
                stale += 1
                continue
            fresh.append(taking)
        leased = self._put(fresh, now_ms, lease)
        return Taken(leased=leased, waiting=len(fresh) - len(leased), known=known, stale=stale)

    async def lease(self, *, now_ms: int, entries_max: int) -> Leased:
        books = self._books
        books.bury_lapsed(now_ms, self.owner)
        ours = [line for line in books.lines.values() if line.owner == self.owner and line.state < FINISHED]
        held = ours if self.doubtful_entries else []
        found = [line for line in self._heads() if line.owner is None and line.due_ms <= now_ms][:entries_max]
        self._own(found, now_ms)
        more = any(line.owner is None and line.state < FINISHED for line in books.lines.values())
        return Leased(entries=tuple(line.entry() for line in (*held, *found)), more=more)

    async def begin(self, begins: Sequence[Begin]) -> frozenset[str]:
        begun = set()
        for begin in begins:
            line = self._mine(begin.command_id)
            if line is None:
                continue
            if not self._is_first(line):
                line.owner = None
                continue
            line.state, line.attempts, line.begun_ms = BEGUN, begin.attempt, begin.begun_ms
            begun.add(begin.command_id)
        return frozenset(begun)

    async def release(self, releases: Sequence[Release]) -> None:
        for release in releases:
            line = self._mine(release.command_id)
            if line is not None:
                line.state, line.attempts, line.due_ms = WAITING, release.attempts, release.due_ms

    async def finish(self, conclusions: Sequence[Conclusion]) -> frozenset[str]:
        written = set()
        for conclusion in conclusions:
            line = self._books.lines.get(conclusion.command_id)
            if line is None or line.owner != self.owner:
                continue
            if line.state < FINISHED:
                line.state, line.status, line.detail = FINISHED, conclusion.status, conclusion.detail
                line.attempts, line.begun_ms = conclusion.attempts, conclusion.begun_ms
                line.finished_ms = conclusion.finished_ms
            if line.conclusion() == conclusion:
                written.add(conclusion.command_id)
        return frozenset(written)

    async def pending(self, *, now_ms: int, outcomes_max: int) -> Sequence[Finished]:
        self._books.bury_lapsed(now_ms, self.owner)
        finished = [line for line in self._books.lines.values() if line.state == FINISHED]
        held = [line for line in finished if line.owner == self.owner] if self.doubtful_outcomes else []
        found = [line for line in finished if line.owner is None][:outcomes_max]
        self._own(found, now_ms)
        return [Finished(command=line.command, conclusion=line.conclusion()) for line in (*held, *found)]

    async def published(self, command_ids: Sequence[str]) -> None:
        for command_id in command_ids:
            line = self._books.lines.get(command_id)
            if line is not None and line.state == FINISHED:
                line.state = PUBLISHED

    async def prune(self, *, before_ms: int, entries_max: int) -> int:
        oldest = list(self._books.lines.values())[:entries_max]
        gone = [_id(line) for line in oldest if line.state == PUBLISHED and line.taken_ms < before_ms]
        for command_id in gone:
            del self._books.lines[command_id]
        return len(gone)

    def _put(self, fresh: Sequence[Taking], now_ms: int, lease: bool) -> tuple[Entry, ...]:
        leased = []
        for taking in fresh:
            command = taking.command
            free = lease and all(line.owner == self.owner for line in self._books.live_of(command.subject))
            line = Line(command=command, owner=self.owner if free else None, taken_ms=now_ms)
            self._books.lines[command.lineage.message_id] = line
            if free:
                leased.append(line.entry())
        if leased:
            self._appear(now_ms)
        return tuple(leased)

    def _heads(self) -> list[Line]:
        """The first unfinished command of each subject."""
        heads: dict[str, Line] = {}
        for line in self._books.lines.values():
            if line.state < FINISHED:
                heads.setdefault(line.command.subject, line)
        return list(heads.values())

    def _is_first(self, line: Line) -> bool:
        """Whether all before it on its subject are ours too."""
        for other in self._books.live_of(line.command.subject):
            if other is line:
                return True
            if other.owner != self.owner:
                return False
        return True

    def _mine(self, command_id: str) -> Line | None:
        line = self._books.lines.get(command_id)
        return line if line is not None and line.owner == self.owner and line.state < FINISHED else None

    def _own(self, lines: Sequence[Line], now_ms: int) -> None:
        for line in lines:
            line.owner = self.owner
        if lines:
            self._appear(now_ms)

    def _appear(self, now_ms: int) -> None:
        """Whoever holds something must be among the owners. One that slept may have been taken off, and not know."""
        self._books.leases.setdefault(self.owner, now_ms + self._lease_ms)


class WiredLedger:
    """A ledger at the other end of a wire."""

    def __init__(self, ledger: SimulatedLedger, call: Call) -> None:
        self._ledger = ledger
        self._call = call
        self._lost_answers = 0

    async def start(self, now_ms: int) -> None:
        await self._do("start", self._ledger.start(now_ms))

    async def renew(self, now_ms: int) -> None:
        await self._do("renew", self._ledger.renew(now_ms))

    async def stop(self) -> None:
        await self._do("stop", self._ledger.stop())

    async def take(self, batch: Sequence[Taking], *, now_ms: int, lease: bool = True) -> Taken:
        try:
            return await self._do("take", self._ledger.take(batch, now_ms=now_ms, lease=lease))
        except (LedgerUnavailable, asyncio.CancelledError):
            self._ledger.doubtful_entries = True
            self._lost_answers += 1
            raise

    async def lease(self, *, now_ms: int, entries_max: int) -> Leased:
        lost_before = self._lost_answers
        try:
            leased = await self._do("lease", self._ledger.lease(now_ms=now_ms, entries_max=entries_max))
        except LedgerUnavailable:
            self._ledger.doubtful_entries = True
            raise
        # A batch may have been taken meanwhile, and its answer lost: of that this one may know nothing.
        self._ledger.doubtful_entries = self._lost_answers > lost_before
        return leased

    async def begin(self, begins: Sequence[Begin]) -> frozenset[str]:
        return await self._do("begin", self._ledger.begin(begins))

    async def release(self, releases: Sequence[Release]) -> None:
        await self._do("release", self._ledger.release(releases))

    async def finish(self, conclusions: Sequence[Conclusion]) -> frozenset[str]:
        return await self._do("finish", self._ledger.finish(conclusions))

    async def pending(self, *, now_ms: int, outcomes_max: int) -> Sequence[Finished]:
        try:
            found = await self._do("pending", self._ledger.pending(now_ms=now_ms, outcomes_max=outcomes_max))
        except LedgerUnavailable:
            self._ledger.doubtful_outcomes = True
            raise
        self._ledger.doubtful_outcomes = False
        return found

    async def published(self, command_ids: Sequence[str]) -> None:
        await self._do("published", self._ledger.published(command_ids))

    async def prune(self, *, before_ms: int, entries_max: int) -> int:
        return await self._do("prune", self._ledger.prune(before_ms=before_ms, entries_max=entries_max))

    async def _do(self, name: str, work: Coroutine[Any, Any, T]) -> T:
        """The work is done where the wire says so, or never."""
        try:
            found: T = await self._call(f"ledger.{name}", lambda: at_once(work))
            return found
        finally:
            work.close()


def at_once(work: Coroutine[Any, Any, T]) -> T:
    """What a coroutine comes to that waits for nothing."""
    try:
        work.send(None)
    except StopIteration as stop:
        found: T = stop.value
        return found
    raise AssertionError("it waits for something")


def _id(line: Line) -> str:
    return line.command.lineage.message_id
