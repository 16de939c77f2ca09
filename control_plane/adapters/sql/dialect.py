"""What differs between databases, and nothing else."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from control_plane.errors import InvalidSettings

T = TypeVar("T")
Work = Callable[[Connection], T]
Durability = Literal["flush", "fsync"]

DATABASE_AWAY = (OperationalError, InterfaceError, OSError, TimeoutError)
"""What a database that is down, locked or full raises, and drivers let through."""
BUSY_TIMEOUT_MS = 5_000
"""How long a transaction waits for another process's."""
CACHE_KIB = 32 * 1024
CHECKPOINT_PAGES = 4_000
_APPEND_LOCK = 0x5E7901
"""Key of the advisory lock under which rows get their sequence, where transactions run side by side."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fragments:
    """The pieces of SQL that databases spell differently."""

    each: str
    """The rows of a batch that was packed into JSON, as a table `j`: `j.value->>0` is the first value of a row."""


_SQLITE = Fragments(each="json_each(:batch) AS j")
_POSTGRESQL = Fragments(each="jsonb_array_elements(CAST(:batch AS jsonb)) AS j(value)")


def fragments_of(dialect_name: str) -> Fragments:
    """The pieces for a database."""
    return _SQLITE if dialect_name == "sqlite" else _POSTGRESQL


def placeholder(paramstyle: str, position: int) -> str:
    """How a driver wants to see the parameter at a position, counted from 1."""
    return f"${position}" if paramstyle == "numeric_dollar" else "?"


def one_appender_at_a_time(connection: Connection) -> None:
    """From here to the end of the transaction nobody else gives out sequences, so that they become visible in order.

    SQLite has one writer anyway.
    """
    if connection.dialect.name != "sqlite":
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _APPEND_LOCK})


class Runner(Protocol):
    """Runs a piece of work in a transaction of its own."""

    async def run(self, work: Work[T]) -> T: ...

    async def close(self) -> None: ...


class EngineRunner:
    """Through SQLAlchemy's own async engine."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def run(self, work: Work[T]) -> T:
        async with self._engine.begin() as connection:
            return await connection.run_sync(work)

    async def close(self) -> None:
        await self._engine.dispose()


class ThreadRunner:
    """SQLite in one thread of our own: one change of thread for a whole transaction.

    The async driver changes threads for every cursor, statement, fetch and commit: some twelve times a transaction,
    each waiting for a turn of a busy event loop.
    """

    def __init__(self, url: URL, durability: Durability) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sql-writer")
        self._engine = sa.create_engine(
            url.set(drivername="sqlite+pysqlite"), poolclass=sa.StaticPool, connect_args={"check_same_thread": False}
        )
        _prepare_sqlite(self._engine, durability)

    async def run(self, work: Work[T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._in_transaction, work)

    def _in_transaction(self, work: Work[T]) -> T:
        try:
            with self._engine.begin() as connection:
                return work(connection)
        except DATABASE_AWAY:
            self._engine.dispose()  # The next one opens the file afresh, whatever ails this connection.
            raise

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._engine.dispose)
        self._thread.shutdown()


def open_engine(url: URL, durability: Durability) -> AsyncEngine:
    """The async engine on a database."""
    if url.get_backend_name() != "sqlite":
        return create_async_engine(url, pool_pre_ping=True)
    _check_sqlite(url)
    engine = create_async_engine(url.set(drivername="sqlite+aiosqlite"))
    _prepare_sqlite(engine.sync_engine, durability)
    return engine


def open_writer(url: URL, durability: Durability, engine: AsyncEngine) -> Runner:
    """What writes to a database: one transaction at a time."""
    return ThreadRunner(url, durability) if url.get_backend_name() == "sqlite" else EngineRunner(engine)


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


def _prepare_sqlite(engine: sa.Engine, durability: Durability) -> None:
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
