"""The database under ledger and audit: migrations, faults, and transactions that are shared."""

import asyncio
import re
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.engine import Connection

from control_plane.adapters.sql import Database, SqlAudit, SqlLedger, SqlPositions, migrations
from control_plane.adapters.sql.group_writer import GroupWriter
from control_plane.adapters.sql.schema import HEAD, metadata, tables_for
from control_plane.errors import AuditUnavailable, DataDamaged, DataTooNew, InvalidSettings, LedgerUnavailable
from control_plane.ports.audit import Page
from control_plane.ports.ledger import Conclusion
from tests.contract.ledger.commands import a_taking
from tests.contract.ledger.test_audit import a_message
from tests.databases import own_database

ALL_MADE_ON_POSTGRESQL = """
SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
UNION SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = 'public'::regnamespace
UNION SELECT table_name || '.' || column_name, concat_ws(' ', data_type, is_nullable, column_default)
FROM information_schema.columns WHERE table_schema = 'public'
"""


CONCLUDED = {
    "command_id": "c1",
    "status": "succeeded",
    "detail": "restarted",
    "attempts": 1,
    "begun_ms": 1,
    "finished_ms": 2,
}


def tables_of(connection: Connection) -> set[str]:
    return set(sa.inspect(connection).get_table_names()) - {"sqlite_sequence"}


def differences(connection: Connection) -> list[object]:
    """Between the tables that are there and those that queries use."""
    return list(compare_metadata(MigrationContext.configure(connection), tables_for(connection.dialect.name)))


def all_made(connection: Connection) -> set[tuple[str, str]]:
    """Every table and index with the columns, constraints and conditions that it was made with."""
    if connection.dialect.name == "postgresql":
        return {(name, made) for name, made in connection.execute(sa.text(ALL_MADE_ON_POSTGRESQL)).all()}
    made = connection.execute(sa.text("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")).all()
    return {(name, re.sub(r"[\s\"]+", "", sql)) for name, sql in made}


async def test_an_empty_database_gets_at_once_what_all_migrations_would_give_it(database: Database) -> None:
    at_once = await database.write(all_made)
    assert await database.write(differences) == []

    await database.write(lambda connection: migrations.migrate(connection, "base"))
    await database.write(migrations.migrate)

    assert await database.write(differences) == []
    assert await database.write(all_made) == at_once


async def test_a_database_of_an_older_version_keeps_its_rows_and_gets_what_is_missing(database: Database) -> None:
    await SqlAudit(database).append([a_message(0)])
    await database.write(lambda connection: migrations.migrate(connection, "0001"))
    assert "trigger_positions" not in await database.write(tables_of)

    await database.write(migrations.migrate)

    assert await database.write(differences) == []
    assert len(await SqlAudit(database).query(Page())) == 1


async def test_going_down_takes_what_the_newer_version_brought_and_leaves_the_rest(database: Database) -> None:
    ledger, audit, positions = SqlLedger(database), SqlAudit(database), SqlPositions(database)
    await ledger.take([a_taking("c1")], now_ms=1)
    await ledger.finish([Conclusion(**CONCLUDED)])
    await audit.append([a_message(0), a_message(1, "m0")])
    await positions.write("orders", {"at": 7})

    await database.write(lambda connection: migrations.migrate(connection, "0001"))
    await database.write(migrations.migrate)

    assert await positions.read("orders") == {}
    assert (await ledger.take([a_taking("c1")], now_ms=2)).known == 1
    assert [
        c.command.lineage.message_id for c in await (await heir_of(database)).pending(now_ms=2, outcomes_max=9)
    ] == ["c1"]
    assert [kept.copies for kept in await audit.query(Page())] == [2]

    await database.write(lambda connection: migrations.migrate(connection, "base"))
    await database.write(migrations.migrate)

    assert len((await ledger.take([a_taking("c1")], now_ms=3)).leased) == 1
    assert await audit.query(Page()) == []


async def heir_of(database: Database) -> SqlLedger:
    """Another owner, who knows that all others are gone."""
    heir = SqlLedger(database, sole=True)
    await heir.start(1)
    return heir


@pytest.mark.postgres
async def test_processes_that_open_an_empty_database_at_once_all_find_it_made(postgres_url: str) -> None:
    async with own_database(postgres_url) as url:
        opened = await asyncio.gather(*(Database.open(url) for _ in range(5)))

        for database in opened:
            assert await database.write(differences) == []
            await database.close()


async def test_tables_of_others_in_the_same_database_are_left_alone(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "audit.db")) as other:
        other.execute("CREATE TABLE invoices (number INTEGER)")

    database = await Database.open(f"sqlite+aiosqlite:///{tmp_path}/audit.db")

    assert await database.write(tables_of) == {*metadata.tables, "alembic_version", "invoices"}
    await database.close()


async def test_migrations_go_down_and_up_again(database: Database) -> None:
    await database.write(lambda connection: migrations.migrate(connection, "base"))
    bare = await database.write(tables_of)
    await database.write(migrations.migrate)

    assert bare == {"alembic_version"}
    assert await database.write(tables_of) == {*metadata.tables, "alembic_version"}


def test_the_newest_migration_is_the_one_that_the_schema_names() -> None:
    assert ScriptDirectory(str(Path(migrations.__file__).parent)).get_current_head() == HEAD


async def test_a_newer_database_is_left_alone(database: Database) -> None:
    await database.write(lambda c: c.execute(sa.text("UPDATE alembic_version SET version_num = '9999'")).rowcount)

    with pytest.raises(DataTooNew, match="9999"):
        await database.write(migrations.migrate)


async def test_what_was_written_is_there_after_opening_again(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path}/data/audit.db"
    first = await Database.open(url, durability="fsync")
    await SqlAudit(first).append([a_message(0)])
    await first.close()

    second = await Database.open(url)
    kept = await SqlAudit(second).query(Page())
    await second.close()

    assert [k.message for k in kept] == [a_message(0)]


@pytest.mark.parametrize(("durability", "synchronous"), [("flush", 1), ("fsync", 2)])
async def test_durability_decides_what_a_commit_waits_for(tmp_path: Path, durability: str, synchronous: int) -> None:
    database = await Database.open(f"sqlite:///{tmp_path}/audit.db", durability=durability)

    def pragma(name: str) -> object:
        return lambda connection: connection.exec_driver_sql(f"PRAGMA {name}").scalar()

    assert await database.write(pragma("synchronous")) == synchronous
    assert await database.write(pragma("journal_mode")) == "wal"
    assert await database.write(pragma("foreign_keys")) == 1
    await database.close()


@pytest.mark.parametrize("url", ["sqlite+aiosqlite://", "sqlite+aiosqlite:///:memory:", "no url"])
async def test_a_store_that_cannot_be_is_refused(url: str) -> None:
    with pytest.raises(InvalidSettings, match="nothing was started"):
        await Database.open(url)


async def test_a_place_where_no_file_can_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(InvalidSettings, match="nothing was started"):
        await Database.open(f"sqlite+aiosqlite:///{tmp_path}/file/audit.db")
    with pytest.raises(InvalidSettings, match="nothing was started"):
        await Database.open(f"sqlite+aiosqlite:///{tmp_path}")


async def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "audit.db").write_bytes(b"not a database at all" * 100)

    with pytest.raises(DataDamaged, match="damaged"):
        await Database.open(f"sqlite+aiosqlite:///{tmp_path}/audit.db")

    assert (tmp_path / "audit.db").read_bytes() == b"not a database at all" * 100


async def test_a_locked_database_stops_everything_and_goes_on_when_it_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("control_plane.adapters.sql.dialect.BUSY_TIMEOUT_MS", 50)
    database = await Database.open(f"sqlite+aiosqlite:///{tmp_path}/audit.db")
    ledger, audit = SqlLedger(database), SqlAudit(database)
    other_process = sqlite3.connect(tmp_path / "audit.db", isolation_level=None)
    other_process.execute("BEGIN EXCLUSIVE")

    with pytest.raises(LedgerUnavailable, match="nothing is done"):
        await ledger.take([a_taking("c1")], now_ms=1)
    with pytest.raises(AuditUnavailable, match="nothing was recorded"):
        await audit.append([a_message(0)])
    other_process.execute("ROLLBACK")
    other_process.close()

    assert len((await ledger.take([a_taking("c1")], now_ms=1)).leased) == 1
    assert (await audit.append([a_message(0)])).stored == 1
    await database.close()


async def test_a_full_database_takes_nothing_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    database = await Database.open(f"sqlite+aiosqlite:///{tmp_path}/audit.db")
    audit = SqlAudit(database)
    pages = await database.write(lambda connection: connection.exec_driver_sql("PRAGMA page_count").scalar_one())
    await database.write(lambda c: c.exec_driver_sql(f"PRAGMA max_page_count = {pages + 1}").scalar())

    with pytest.raises(AuditUnavailable, match="full"):
        await audit.append([a_message(n, body=b"x" * 10_000) for n in range(10)])

    assert await audit.query(Page()) == []
    assert (await audit.append([a_message(n) for n in range(10)])).stored == 10
    await database.close()


async def test_what_waits_together_is_written_together(database: Database) -> None:
    before = database.rounds_done

    await asyncio.gather(*(SqlAudit(database).append([a_message(n)]) for n in range(100)))

    assert database.rounds_done - before <= 4


class SlowRunner:
    """Gets through with four pieces of work in time, and with no more."""

    async def run(self, work, *, patient: bool = False):
        answers = work(None)
        await asyncio.sleep(0)
        if len(answers) > 4:
            raise TimeoutError
        return answers

    async def close(self) -> None:
        """Nothing to let go of."""


async def test_a_database_that_is_given_too_much_at_once_is_given_less() -> None:
    writer = GroupWriter(SlowRunner())

    async def until_done(n: int) -> int:
        while True:
            try:
                return await writer.do(lambda _connection: n)
            except TimeoutError:
                await asyncio.sleep(0)

    async with asyncio.timeout(20):
        answers = await asyncio.gather(*(until_done(n) for n in range(200)))

    assert answers == list(range(200))


async def test_a_piece_of_work_that_fails_fails_nobody_else(database: Database) -> None:
    def faulty(_connection: Connection) -> None:
        raise ValueError("a bug")

    works = [
        SqlAudit(database).append([a_message(0)]),
        database.write(faulty),
        SqlAudit(database).append([a_message(1)]),
    ]
    first, bug, last = await asyncio.gather(*works, return_exceptions=True)

    assert (first.stored, last.stored) == (1, 1)
    assert isinstance(bug, ValueError)


def test_what_is_open_is_indexed_alone_on_other_databases_too() -> None:
    said: list[str] = []
    postgresql = sa.create_mock_engine(
        "postgresql+asyncpg://", lambda ddl, *_: said.append(str(ddl.compile(postgresql)))
    )

    tables_for("postgresql").create_all(postgresql, checkfirst=False)

    partial = {line.split()[2]: line.partition(" WHERE ")[2] for line in said if "CREATE INDEX ledger" in line}
    assert partial == {"ledger_live": "state < 2", "ledger_open": "state < 3"}


async def test_it_says_what_time_it_is(database: Database) -> None:
    before_ms = time.time_ns() // 1_000_000

    now_ms = await database.now_ms()

    # The real servers of a test run on this machine.
    assert before_ms - 10 <= now_ms <= time.time_ns() // 1_000_000 + 10
