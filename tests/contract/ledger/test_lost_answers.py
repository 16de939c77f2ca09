"""What an owner was given by an answer that it never heard, it is given again; and nothing is left with one that is
gone."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from control_plane.adapters.sql import Database, SqlLedger
from control_plane.adapters.sql.database import Unreachable
from control_plane.errors import LedgerUnavailable
from tests.contract.ledger.commands import a_taking


class Through:
    """A database whose writes go through something else."""

    def __init__(self, database: Database) -> None:
        self.fragments = database.fragments
        self.after: Callable[[], Any] | None = None
        self._database = database

    async def write(self, work: Any) -> Any:
        after, self.after = self.after, None
        answer = await self._database.write(work)
        if after is not None:
            await after()
        return answer


@pytest.fixture
def wire(database: Database) -> Through:
    return Through(database)


@pytest.fixture
async def ledger(wire: Through) -> SqlLedger:
    opened = SqlLedger(wire)  # type: ignore[arg-type]
    await opened.start(0)
    return opened


async def leased(ledger: SqlLedger, now_ms: int = 0) -> list[str]:
    found = await ledger.lease(now_ms=now_ms, entries_max=10)
    return [entry.command.lineage.message_id for entry in found.entries]


async def test_what_was_taken_by_a_call_that_was_broken_off_is_given_again(ledger: SqlLedger, wire: Through) -> None:
    hangs = asyncio.Event()

    async def never_answer() -> None:
        hangs.set()
        await asyncio.Event().wait()

    wire.after = never_answer
    taking = asyncio.create_task(ledger.take([a_taking("c1")], now_ms=0))
    await hangs.wait()
    taking.cancel()
    await asyncio.wait([taking])

    assert await leased(ledger) == ["c1"]
    assert await leased(ledger) == []


async def test_an_answer_that_is_lost_while_leasing_is_not_forgotten(ledger: SqlLedger, wire: Through) -> None:
    """What the lease saw may be older than what was lost."""

    async def lose() -> None:
        raise Unreachable("the answer was lost")

    async def take_and_hear_nothing() -> None:
        wire.after = lose
        with pytest.raises(LedgerUnavailable):
            await ledger.take([a_taking("c1")], now_ms=0)

    wire.after = take_and_hear_nothing

    assert await leased(ledger) == []
    assert await leased(ledger) == ["c1"]


async def test_what_an_owner_took_that_had_slept_too_long_is_left_to_others_when_it_dies(
    ledger: SqlLedger, database: Database
) -> None:
    """It was taken off the owners while it slept, took more when it woke up, and died before it renewed its lease."""
    heir = SqlLedger(database)
    await heir.start(40_000)
    await heir.lease(now_ms=40_000, entries_max=10)
    await ledger.take([a_taking("c1")], now_ms=40_001)

    await heir.renew(60_000)
    before = await leased(heir, 60_000)
    after = await leased(heir, 70_002)

    assert before == []
    assert after == ["c1"]
