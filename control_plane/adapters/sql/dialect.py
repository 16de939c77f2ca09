"""What differs between databases, and nothing else."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection

from control_plane.adapters.sql.runner import DATABASE_AWAY, READERS_MAX, Runner, T, Work
from control_plane.errors import InvalidSettings

Durability = Literal["flush", "fsync"]


BUSY_TIMEOUT_MS = 5_000
"""How long a transaction waits for another process's."""
CACHE_KIB = 32 * 1024
CHECKPOINT_PAGES = 4_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Fragments:
    """The pieces of SQL that databases spell differently."""

    each: str
    """The rows of a batch that was packed into JSON, as a table `j`: `j.value->>0` is the first value of a row."""
    now_ms: str
    """The database's own time."""


_SQLITE = Fragments(
    each="json_each(:batch) AS j",
    now_ms="CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)",
)
_POSTGRESQL = Fragments(
    each="jsonb_array_elements(CAST(:batch AS jsonb)) AS j(value)",
    now_ms="CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)",
)


def fragments_of(dialect_name: str) -> Fragments:
    """The pieces for a database."""
    return _SQLITE if dialect_name == "sqlite" else _POSTGRESQL


def placeholder(paramstyle: str, position: int) -> str:
    """How a driver wants to see the parameter at a position, counted from 1."""
    return f"${position}" if paramstyle == "numeric_dollar" else "?"


class Turn(Enum):
    """What only one transaction at a time may do, however many processes there are."""

    APPEND = 0x5E7901
    """Give out sequences of the audit store, so that they become visible in order."""
    LEDGER = 0x5E7902
    """Change the ledger: whose turn a subject is, and which epoch is over, hang on many rows."""
    MIGRATE = 0x5E7903


def wait_for_turn(connection: Connection, turn: Turn) -> None:
    """From here to the end of the transaction it is ours alone. SQLite has one writer anyway."""
    if connection.dialect.name == "sqlite":
        return
    transaction = connection.get_transaction()
    if connection.info.get(turn) is not transaction:
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": turn.value})
        connection.info[turn] = transaction


class ThreadRunner:
    """SQLite in threads of our own: one change of thread for a whole transaction.

    An async driver changes threads for every cursor, statement, fetch and commit: some twelve times a transaction,
    each waiting for a turn of a busy event loop.
    """

    def __init__(self, engine: sa.Engine, *, threads: int, reads: bool = False) -> None:
        self._engine = engine
        self._reads = reads
        name = "sql-reader" if reads else "sql-writer"
        self._threads = ThreadPoolExecutor(max_workers=threads, thread_name_prefix=name)

    async def run(self, work: Work[T], *, patient: bool = False) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._in_transaction, work)

    def _in_transaction(self, work: Work[T]) -> T:
        try:
            with self._engine.connect() as opened:
                connection = opened.execution_options(reads=self._reads)
                with connection.begin():
                    return work(connection)
        except DATABASE_AWAY:
            self._engine.dispose()  # The next one opens the file afresh, whatever ails this connection.
            raise

    async def close(self) -> None:
        """Once what runs is done: SQLite tidies its file up when the last connection closes, which takes a while."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._threads.shutdown()
        self._engine.dispose()


def open_runners(url: URL, durability: Durability) -> tuple[Runner, Runner]:
    """What writes to a database, one transaction at a time, and what reads beside it."""
    if url.get_backend_name() != "sqlite":
        # Loads SQLAlchemy's ORM as well, 0.3 s that nobody on SQLite waits for.
        from control_plane.adapters.sql.async_engine import open_async_runners

        return open_async_runners(url)
    _check_sqlite(url)
    file = url.set(drivername="sqlite+pysqlite")
    any_thread = {"check_same_thread": False}
    # An error must not show what is in the rows.
    writer = sa.create_engine(file, poolclass=sa.StaticPool, connect_args=any_thread, hide_parameters=True)
    reader = sa.create_engine(
        file, pool_size=READERS_MAX, max_overflow=0, connect_args=any_thread, hide_parameters=True
    )
    for engine in (writer, reader):
        prepare_sqlite(engine, durability)
    return ThreadRunner(writer, threads=1), ThreadRunner(reader, threads=READERS_MAX, reads=True)


def _check_sqlite(url: URL) -> None:
    if not url.database or url.database == ":memory:":
        raise InvalidSettings(
            f"store {url} is in memory, so nothing was started: a ledger that forgets is none. "
            "Name a file, as in sqlite+aiosqlite:///data/audit.db."
        )
    try:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise InvalidSettings(
            f"The folder of store {url.database} cannot be made ({exc.strerror}), so nothing was started. "
            "Give the process the right to write there, or name another place in `store`."
        ) from exc


def prepare_sqlite(engine: sa.Engine, durability: Durability) -> None:
    """WAL lets readers read while the writer writes; in WAL, NORMAL survives the process and FULL the machine."""
    pragmas = (
        f"busy_timeout = {BUSY_TIMEOUT_MS}",
        "journal_mode = WAL",
        f"synchronous = {'FULL' if durability == 'fsync' else 'NORMAL'}",
        "foreign_keys = ON",
        f"cache_size = -{CACHE_KIB}",
        f"wal_autocheckpoint = {CHECKPOINT_PAGES}",
    )

    @sa.event.listens_for(engine, "connect")
    def set_up(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # We begin ourselves: the driver would begin late and upgrade its lock.
        cursor = connection.cursor()
        for pragma in pragmas:
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @sa.event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        reads = connection.get_execution_options().get("reads", False)
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")
