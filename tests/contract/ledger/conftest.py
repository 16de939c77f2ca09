"""Databases to run the contracts on. The async engine is how other databases are reached: SQLite stands in for them."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from control_plane.adapters.sql import Database
from control_plane.adapters.sql.dialect import EngineRunner, open_engine
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
    engine = open_engine(make_url(url), "flush")
    opened = Database(make_url(url), engine, EngineRunner(engine))
    await opened.write(migrate)
    return opened
