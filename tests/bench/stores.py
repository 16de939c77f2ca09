"""What the store takes, on SQLite and on PostgreSQL, in turns: commands a second through the ledger, rows a second into
the audit store, and how long one command waits for the ledger when it is alone.

PostgreSQL is one of its own, on this machine, and waits for the disk at each commit as it does in earnest; SQLite with
durability `flush` does not, with `fsync` it does.
"""

import asyncio
import json
import statistics
import sys
import tempfile
import time
from typing import Any

from control_plane.adapters.sql import Database, SqlAudit, SqlLedger
from control_plane.messages.wire import encode
from control_plane.ports.audit import RecordedMessage
from control_plane.ports.ledger import Begin, Conclusion, Taking
from tests.contract.ledger.commands import a_command
from tests.databases import own_database
from tests.real_parts import Postgres

ROUNDS = 3
BATCH = 200
"""As many records as a fetched batch has."""
COMMANDS = 10_000
IN_FLIGHT = 4
"""Batches that are taken, begun and finished beside each other, as stages do."""
ALONE = 100
ROWS_PER_APPEND = 1_000
ROWS = 50_000
MEASURES = ("commands/s", "ms for one alone", "rows/s")


class PostgresInEarnest(Postgres):
    """Without the flags that make tests fast."""

    flags = ()


async def measured() -> dict[str, Any]:
    """The medians of each database, and their spread."""
    part = PostgresInEarnest("postgres", "PostgreSQL")
    found: dict[str, list[dict[str, float]]] = {"SQLite, flush": [], "SQLite, fsync": [], "PostgreSQL": []}
    with part.own() as server:
        for _ in range(ROUNDS):
            for durability in ("flush", "fsync"):
                with tempfile.TemporaryDirectory(prefix="setpoint-stores-") as folder:
                    url = f"sqlite+aiosqlite:///{folder}/audit.db"
                    found[f"SQLite, {durability}"].append(await _round(url, durability))
            async with own_database(server.address) as url:
                found["PostgreSQL"].append(await _round(url, "flush"))
    return {name: _medians(rounds) for name, rounds in found.items()}


def table(found: dict[str, Any]) -> str:
    """The figures as lines."""
    lines = [
        "stores: the ledger's whole way of a command, and rows into the audit store; medians, in brackets the spread"
    ]
    lines.append(f"  {'':<16}" + "".join(f"{name:>30}" for name in MEASURES))
    for name, figures in found.items():
        cells = (f"{f['median']:,.1f} ({f['least']:,.1f} to {f['most']:,.1f})" for f in figures.values())
        lines.append(f"  {name:<16}" + "".join(f"{cell:>30}" for cell in cells))
    return "\n".join(lines)


async def _round(url: str, durability: Any) -> dict[str, float]:
    database = await Database.open(url, durability=durability)
    ledger = SqlLedger(database)
    await ledger.start(1)
    figures = (
        COMMANDS / await _through_ledger(ledger),
        1000 * await _alone(ledger),
        ROWS / await _appended(SqlAudit(database)),
    )
    await database.close()
    return dict(zip(MEASURES, figures, strict=True))


async def _through_ledger(ledger: SqlLedger) -> float:
    """Seconds for all commands, a few batches beside each other."""
    batches = [_takings(range(n, n + BATCH)) for n in range(0, COMMANDS, BATCH)]
    places = asyncio.Semaphore(IN_FLIGHT)

    async def in_turn(batch: list[Taking]) -> None:
        async with places:
            await _carried_out(ledger, batch)

    began = time.perf_counter()
    await asyncio.gather(*(in_turn(batch) for batch in batches))
    return time.perf_counter() - began


async def _alone(ledger: SqlLedger) -> float:
    """Seconds that one command waits for the ledger in all, with nobody beside it."""
    waited = []
    for n in range(ALONE):
        takings = _takings(range(COMMANDS + n, COMMANDS + n + 1))
        began = time.perf_counter()
        await _carried_out(ledger, takings)
        waited.append(time.perf_counter() - began)
    return statistics.median(waited)


async def _carried_out(ledger: SqlLedger, batch: list[Taking]) -> None:
    """Taken, begun, finished, noted as published."""
    ids = [taking.command.lineage.message_id for taking in batch]
    await ledger.take(batch, now_ms=1)
    begun = await ledger.begin([Begin(command_id=id, attempt=1, begun_ms=1) for id in ids])
    assert len(begun) == len(ids), "nobody else is there"
    await ledger.finish(
        [
            Conclusion(command_id=id, status="succeeded", detail="done", attempts=1, begun_ms=1, finished_ms=2)
            for id in ids
        ]
    )
    await ledger.published(ids)


async def _appended(audit: SqlAudit) -> float:
    batches = [_messages(range(n, n + ROWS_PER_APPEND)) for n in range(0, ROWS, ROWS_PER_APPEND)]
    began = time.perf_counter()
    for batch in batches:
        await audit.append(batch)
    return time.perf_counter() - began


def _takings(numbers: range) -> list[Taking]:
    commands = [a_command(f"command {n}", f"service/{n}") for n in numbers]
    return [
        Taking(command=command, body=encode(command), partition=0, offset=n)
        for n, command in zip(numbers, commands, strict=True)
    ]


def _messages(numbers: range) -> list[RecordedMessage]:
    body = encode(a_command())
    return [
        RecordedMessage(
            message_id=f"message {n}",
            source="setpoint",
            topic="decisions.v1",
            partition=0,
            offset=n,
            type="setpoint.decision",
            subject=f"service/{n % 1_000}",
            correlation_id=f"flow {n // 5}",
            causation_id=f"message {n - 1}",
            occurred_ms=1_000,
            recorded_ms=2_000,
            body=body,
        )
        for n in numbers
    ]


def _medians(rounds: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    by_measure = {name: [figures[name] for figures in rounds] for name in rounds[0]}
    return {
        name: {"median": statistics.median(values), "least": min(values), "most": max(values)}
        for name, values in by_measure.items()
    }


if __name__ == "__main__":
    json.dump(asyncio.run(measured()), sys.stdout)
