"""The ledger in SQL. One call is one piece of work in a transaction that it may share; see `ports.ledger`.

Everything a call needs to tell its caller is told by the number of rows that changed; only where that is not the number
of rows asked for does it look closer.
"""

import asyncio
from collections.abc import Sequence, Set
from typing import Any
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy.engine import Connection, CursorResult

from control_plane.adapters.sql.batches import insert, packed, storable
from control_plane.adapters.sql.database import Database, Unreachable
from control_plane.adapters.sql.dialect import Turn, wait_for_turn
from control_plane.adapters.sql.ledger_sql import LedgerStatements
from control_plane.adapters.sql.runner import T, Work
from control_plane.adapters.sql.schema import BEGUN, FINISHED, WAITING
from control_plane.errors import LedgerUnavailable
from control_plane.messages import Command
from control_plane.messages.wire import decode
from control_plane.ports.ledger import Begin, Conclusion, Entry, Finished, Leased, Release, Taken, Taking

LEASE_S = 30.0

_TAKEN_COLUMNS = (
    "command_id",
    "log_partition",
    "log_offset",
    "epoch",
    "subject",
    "state",
    "owner",
    "attempts",
    "taken_ms",
    "due_ms",
    "body",
)


class SqlLedger:
    """The ledger of one owner. `sole` says that no other process may use this ledger, so all former owners are gone."""

    def __init__(self, database: Database, *, lease_s: float = LEASE_S, sole: bool = False) -> None:
        self.owner = uuid4().hex
        self._database = database
        self._lease_ms = int(lease_s * 1000)
        self._sole = sole
        self._sql = LedgerStatements.of(database.fragments)
        self._doubts = self._doubts_settled = 0
        self._doubtful_outcomes = False

    async def start(self, now_ms: int) -> None:
        def work(connection: Connection) -> None:
            self._announce(connection, now_ms)
            if self._sole:
                self._bury(connection, connection.execute(self._sql.others, {"owner": self.owner}).scalars().all())

        await self._write(work)

    async def now_ms(self) -> int:
        """The database's time, which all owners share. Raises LedgerUnavailable."""
        try:
            return await self._database.now_ms()
        except Unreachable as exc:
            raise _unavailable(exc) from exc

    async def renew(self, now_ms: int) -> None:
        await self._write(lambda connection: self._announce(connection, now_ms))

    async def stop(self) -> None:
        await self._write(lambda connection: self._bury(connection, [self.owner]))

    async def take(self, batch: Sequence[Taking], *, now_ms: int, lease: bool = True) -> Taken:
        if not batch:
            return Taken(leased=(), waiting=0, known=0, stale=0)
        try:
            return await self._write(lambda connection: self._take(connection, batch, now_ms, lease))
        except (LedgerUnavailable, asyncio.CancelledError):
            self._doubts += 1  # The answer may be lost after the fact: then they are ours unknown to us.
            raise

    async def lease(self, *, now_ms: int, entries_max: int) -> Leased:
        doubtful = self._doubts > self._doubts_settled
        self._doubts += 1
        settles = self._doubts  # What becomes doubtful meanwhile may have come after what this one sees.
        leased = await self._write(lambda connection: self._lease(connection, now_ms, entries_max, doubtful))
        self._doubts_settled = settles
        return leased

    async def begin(self, begins: Sequence[Begin]) -> frozenset[str]:
        rows = [(b.command_id, b.attempt, b.begun_ms) for b in begins]

        def still_so(row: Any, begin: Begin) -> bool:
            return (row.state, row.attempts, row.begun_ms) == (BEGUN, begin.attempt, begin.begun_ms)

        def work(connection: Connection) -> frozenset[str]:
            begun = self._update(connection, self._sql.begin, rows, begins, still_so)
            if len(begun) < len(rows):
                others = packed((row[0],) for row in rows if row[0] not in begun)
                connection.execute(self._sql.disown, {"batch": others, "owner": self.owner})
            return begun

        return await self._write(work)

    async def release(self, releases: Sequence[Release]) -> None:
        rows = packed((r.command_id, r.attempts, r.due_ms) for r in releases)
        await self._write(
            lambda connection: _changed(connection.execute(self._sql.release, {"batch": rows, "owner": self.owner}))
        )

    async def finish(self, conclusions: Sequence[Conclusion]) -> frozenset[str]:
        rows = [(c.command_id, c.status, c.detail, c.attempts, c.begun_ms, c.finished_ms) for c in conclusions]

        def still_so(row: Any, c: Conclusion) -> bool:
            return row.state >= FINISHED and (row.status, row.attempts, row.begun_ms, row.finished_ms) == (
                c.status,
                c.attempts,
                c.begun_ms,
                c.finished_ms,
            )

        return await self._write(
            lambda connection: self._update(connection, self._sql.finish, rows, conclusions, still_so)
        )

    async def pending(self, *, now_ms: int, outcomes_max: int) -> Sequence[Finished]:
        doubtful, self._doubtful_outcomes = self._doubtful_outcomes, True
        found = await self._write(lambda connection: self._pending(connection, now_ms, outcomes_max, doubtful))
        self._doubtful_outcomes = False
        return found

    async def published(self, command_ids: Sequence[str]) -> None:
        rows = packed((command_id,) for command_id in command_ids)
        await self._write(lambda connection: _changed(connection.execute(self._sql.publish, {"batch": rows})))

    async def prune(self, *, before_ms: int, entries_max: int) -> int:
        limits = {"before_ms": before_ms, "entries_max": entries_max}
        return await self._write(lambda connection: _changed(connection.execute(self._sql.prune, limits)))

    async def _write(self, work: Work[T]) -> T:
        def in_turn(connection: Connection) -> T:
            wait_for_turn(connection, Turn.LEDGER)
            return work(connection)

        try:
            return await self._database.write(in_turn)
        except Unreachable as exc:
            raise _unavailable(exc) from exc

    def _announce(self, connection: Connection, now_ms: int) -> None:
        connection.execute(self._sql.announce, {"owner": self.owner, "until_ms": now_ms + self._lease_ms})

    def _appear(self, connection: Connection, now_ms: int) -> None:
        """Whoever holds something must be among the owners. One that slept may have been taken off, and not know."""
        connection.execute(self._sql.appear, {"owner": self.owner, "until_ms": now_ms + self._lease_ms})

    def _bury(self, connection: Connection, owners: Sequence[str]) -> None:
        """What these owners held is anybody's."""
        for gone in owners:
            connection.execute(self._sql.disinherit, {"gone": gone})
            connection.execute(self._sql.dismiss, {"gone": gone})

    def _bury_lapsed(self, connection: Connection, now_ms: int) -> None:
        terms = {"owner": self.owner, "now_ms": now_ms}
        self._bury(connection, connection.execute(self._sql.lapsed, terms).scalars().all())

    def _take(self, connection: Connection, batch: Sequence[Taking], now_ms: int, lease: bool) -> Taken:
        fresh = self._unknown(connection, batch)
        standing = self._in_force(connection, batch, {id(taking) for taking in fresh})
        busy = self._busy(connection, standing) if lease else frozenset()
        owners = [self.owner if lease and storable(t.command.subject) not in busy else None for t in standing]
        self._insert(connection, standing, owners, now_ms)
        if any(owners):
            self._appear(connection, now_ms)
        leased = tuple(Entry(command=t.command) for t, owner in zip(standing, owners, strict=True) if owner)
        return Taken(
            leased=leased,
            waiting=len(standing) - len(leased),
            known=len(batch) - len(fresh),
            stale=len(fresh) - len(standing),
        )

    def _unknown(self, connection: Connection, batch: Sequence[Taking]) -> Sequence[Taking]:
        ids = packed((t.command.lineage.message_id,) for t in batch)
        known = set(connection.execute(self._sql.known, {"batch": ids}).scalars())
        fresh = []
        for taking in batch:
            if taking.command.lineage.message_id not in known:
                known.add(taking.command.lineage.message_id)
                fresh.append(taking)
        return fresh

    def _in_force(self, connection: Connection, batch: Sequence[Taking], fresh: Set[int]) -> Sequence[Taking]:
        """The fresh ones, by identity, without those of an epoch that is over. Within a batch the log's order counts.
        A command that is known tells of its owner's epoch as well."""
        highest: dict[int, int] = {}
        standing, raised = [], set()
        for taking in batch:
            if taking.partition not in highest:
                found = connection.execute(self._sql.epoch, {"log_partition": taking.partition}).scalar()
                highest[taking.partition] = found or 0
            if taking.epoch < highest[taking.partition]:
                continue
            if taking.epoch > highest[taking.partition]:
                highest[taking.partition] = taking.epoch
                raised.add(taking.partition)
            if id(taking) in fresh:
                standing.append(taking)
        for partition in sorted(raised):
            connection.execute(self._sql.raise_epoch, {"log_partition": partition, "epoch": highest[partition]})
        return standing

    def _busy(self, connection: Connection, standing: Sequence[Taking]) -> frozenset[str]:
        subjects = packed((subject,) for subject in {t.command.subject for t in standing})
        found = connection.execute(self._sql.busy_subjects, {"batch": subjects, "owner": self.owner})
        return frozenset(found.scalars())

    def _insert(
        self, connection: Connection, standing: Sequence[Taking], owners: Sequence[str | None], now_ms: int
    ) -> None:
        rows = [
            (
                t.command.lineage.message_id,
                t.partition,
                t.offset,
                t.epoch,
                storable(t.command.subject),
                WAITING,
                owner,
                0,
                now_ms,
                0,
                t.body,
            )
            for t, owner in zip(standing, owners, strict=True)
        ]
        insert(connection, "ledger", _TAKEN_COLUMNS, rows)

    def _lease(self, connection: Connection, now_ms: int, entries_max: int, doubtful: bool) -> Leased:
        self._bury_lapsed(connection, now_ms)
        held = connection.execute(self._sql.own_live, {"owner": self.owner}).all() if doubtful else []
        found = connection.execute(self._sql.heads, {"now_ms": now_ms, "entries_max": entries_max}).all()
        self._adopt(connection, [row.command_id for row in found], now_ms)
        more = connection.execute(self._sql.any_waiting).scalar() is not None
        entries = tuple(
            Entry(command=_command(row.body), attempts=row.attempts, begun=row.state == BEGUN, begun_ms=row.begun_ms)
            for row in (*held, *found)
        )
        return Leased(entries=entries, more=more)

    def _pending(self, connection: Connection, now_ms: int, outcomes_max: int, doubtful: bool) -> Sequence[Finished]:
        self._bury_lapsed(connection, now_ms)
        held = connection.execute(self._sql.own_outbox, {"owner": self.owner}).all() if doubtful else []
        found = connection.execute(self._sql.outbox, {"outcomes_max": outcomes_max}).all()
        self._adopt(connection, [row.command_id for row in found], now_ms)
        return [Finished(command=_command(row.body), conclusion=_conclusion(row)) for row in (*held, *found)]

    def _adopt(self, connection: Connection, command_ids: Sequence[str], now_ms: int) -> None:
        if command_ids:
            self._appear(connection, now_ms)
            rows = packed((command_id,) for command_id in command_ids)
            connection.execute(self._sql.adopt, {"batch": rows, "owner": self.owner})

    def _update(
        self, connection: Connection, statement: sa.TextClause, rows: list[Any], asked: Sequence[Any], still_so: Any
    ) -> frozenset[str]:
        """The ids of which it is now true, whether this call made it so or an earlier one whose answer was lost."""
        batch = {"batch": packed(rows), "owner": self.owner}
        if _changed(connection.execute(statement, batch)) == len(rows):
            return frozenset(row[0] for row in rows)
        by_id = {one.command_id: one for one in asked}
        standing = connection.execute(self._sql.standing, batch).all()
        return frozenset(row.command_id for row in standing if still_so(row, by_id[row.command_id]))


def _unavailable(exc: Unreachable) -> LedgerUnavailable:
    return LedgerUnavailable(
        f"The ledger cannot be written ({exc}), so nothing is done until it can. Commands stay in the log; "
        "acting goes on by itself. Check the database named by `store` and the space on its disk."
    )


def _changed(outcome: CursorResult[Any]) -> int:
    return outcome.rowcount


def _command(body: bytes) -> Command:
    return decode(bytes(body), Command)


def _conclusion(row: Any) -> Conclusion:
    return Conclusion(
        command_id=row.command_id,
        status=row.status,
        detail=row.detail,
        attempts=row.attempts,
        begun_ms=row.begun_ms,
        finished_ms=row.finished_ms,
    )
