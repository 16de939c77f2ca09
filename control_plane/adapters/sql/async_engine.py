"""PostgreSQL through asyncpg and SQLAlchemy's own async engine. SQLite has `dialect.ThreadRunner`.

A module of its own because it loads SQLAlchemy's ORM and asyncpg, which nobody on SQLite waits for. Every wait has an
end: a server that is down, slow, full or out of reach is `DatabaseAway` within seconds, whatever the driver calls it.
"""

import asyncio
from typing import Any, Final

import asyncpg
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from control_plane.adapters.sql.runner import READERS_MAX, DatabaseAway, Runner, T, Work

CONNECT_TIMEOUT_S: Final = 3.0
STATEMENT_TIMEOUT_S: Final = 4.0
"""How long one statement may take, its waiting for another process's lock included. The server ends it."""
TRANSACTION_TIMEOUT_S: Final = 6.0
"""How long all of them may take together, connecting included. Letting go of what hangs takes 2 s at most."""
MIGRATION_TIMEOUT_S: Final = 600.0
"""How long it may take to bring the tables up to date; rows may have to be written anew."""
IDLE_IN_TRANSACTION_TIMEOUT_S: Final = 10.0
"""The server ends a transaction whose process says nothing more, so that nobody waits for its locks for ever."""

_AWAY_CLASSES: Final = ("08", "28", "3D", "40", "53", "55", "57", "58")
"""Beginnings of SQLSTATEs: connection, authorisation, no such database, deadlock, out of room, locked, shutting down or
timed out, disk."""
_AWAY_STATES: Final = ("25006", "25P03", "42501")
"""Read-only, idle for too long, no permission."""


class AsyncRunner:
    """Every piece of work in a transaction that commits."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def run(self, work: Work[T], *, patient: bool = False) -> T:
        timeout_s = MIGRATION_TIMEOUT_S if patient else TRANSACTION_TIMEOUT_S
        try:
            async with asyncio.timeout(timeout_s), self._engine.begin() as connection:
                if patient:
                    await connection.exec_driver_sql(f"SET LOCAL statement_timeout = {int(timeout_s * 1000)}")
                return await connection.run_sync(work)
        except (DBAPIError, asyncpg.PostgresError, asyncpg.InterfaceError, PoolTimeout, OSError, TimeoutError) as exc:
            if _is_away(exc):
                raise DatabaseAway(_said(exc)) from exc
            raise

    async def close(self) -> None:
        """Let go of every connection."""
        await self._engine.dispose()


def open_async_runners(url: URL) -> tuple[Runner, Runner]:
    """What writes to a database, one transaction at a time, and what reads beside it, each on one snapshot."""
    # Whatever the server's default is: who waits for a lock must then see what its former holder wrote.
    writer = _engine(url, pool_size=1).execution_options(isolation_level="READ COMMITTED")
    reader = _engine(url, pool_size=READERS_MAX, pool_pre_ping=True)
    reader = reader.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    return AsyncRunner(writer), AsyncRunner(reader)


def _engine(url: URL, **pooling: Any) -> AsyncEngine:
    """Who writes notices a lost connection by a call that fails, and makes it again; who reads asks first."""
    connecting: dict[str, Any] = {
        "timeout": CONNECT_TIMEOUT_S,
        "server_settings": {
            "application_name": "setpoint",
            "statement_timeout": str(int(STATEMENT_TIMEOUT_S * 1000)),
            "idle_in_transaction_session_timeout": str(int(IDLE_IN_TRANSACTION_TIMEOUT_S * 1000)),
        },
    }
    return create_async_engine(
        url,
        max_overflow=0,
        pool_timeout=CONNECT_TIMEOUT_S,
        connect_args=connecting,
        hide_parameters=True,  # An error must not show what is in the rows.
        **pooling,
    )


def _is_away(exc: Exception) -> bool:
    """Whether it is the database that does not serve, and not the statement that is wrong."""
    state = _state(exc)
    if state:
        return state.startswith(_AWAY_CLASSES) or state in _AWAY_STATES
    return not isinstance(exc, DBAPIError) or exc.connection_invalidated


def _state(exc: Exception) -> str:
    """The SQLSTATE, where the server gave one."""
    told = exc.orig if isinstance(exc, DBAPIError) else exc
    return getattr(told, "sqlstate", None) or ""


def _said(exc: Exception) -> str:
    told = exc.orig if isinstance(exc, DBAPIError) else exc
    # SQLAlchemy puts the driver's class before the driver's words.
    return str(told).rpartition("'>: ")[2] or "it gives no answer in time"
