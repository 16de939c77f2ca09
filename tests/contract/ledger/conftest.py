"""Databases to run the contracts on. The async engine is how other databases are reached: SQLite stands in for them."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine

from control_plane.adapters.sql import Database
from control_plane.adapters.sql.async_engine import AsyncReader, AsyncWriter
from control_plane.adapters.sql.dialect import prepare_sqlite
from control_plane.adapters.sql.migrations import migrate


@pytest.fixture(params=["own thread", "async engine"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    url = f"sqlite+aiosqlite:///{tmp_path}/audit.db"
    if request.param == "own thread":
        opened = await Database.open(url)
    else:
        opened = await _through_engine(url)
    yield opened
    await opened.close()


async def _through_engine(url: str) -> Database:
    engine = create_async_engine(url)
    prepare_sqlite(engine.sync_engine, "flush")
    opened = Database(make_url(url), AsyncWriter(engine), AsyncReader(engine))
    await opened.write(migrate)
    return opened
