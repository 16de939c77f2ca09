"""Databases with a driver for asyncio, through SQLAlchemy's own async engine. SQLite has `dialect.ThreadRunner`.

A module of its own because it loads SQLAlchemy's ORM, which nothing here uses.
"""

from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from control_plane.adapters.sql.dialect import Runner, T, Work


class AsyncWriter:
    """Every piece of work in a transaction that commits."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def run(self, work: Work[T]) -> T:
        async with self._engine.begin() as connection:
            return await connection.run_sync(work)

    async def close(self) -> None:
        """Let go of every connection."""
        await self._engine.dispose()


class AsyncReader:
    """Every piece of work on a snapshot that nobody sees afterwards. The engine is its writer's, who closes it."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def run(self, work: Work[T]) -> T:
        async with self._engine.connect() as connection:
            await connection.execution_options(reads=True)
            return await connection.run_sync(work)

    async def close(self) -> None:
        """Nothing of its own."""


def open_async_runners(url: URL) -> tuple[Runner, Runner]:
    """What writes to a database, and what reads beside it."""
    engine = create_async_engine(url, pool_pre_ping=True)
    return AsyncWriter(engine), AsyncReader(engine)
