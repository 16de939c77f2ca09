"""Databases to run the contracts on: SQLite in a thread of its own, SQLite through an async driver, PostgreSQL."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from control_plane.adapters.sql import Database
from tests.databases import own_database


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    """An open database with the newest schema, and nothing in it."""
    if request.param == "sqlite":
        opened = await Database.open(f"sqlite+aiosqlite:///{tmp_path}/audit.db")
        yield opened
        await opened.close()
        return
    async with own_database(request.getfixturevalue("postgres_url")) as url:
        opened = await Database.open(url)
        yield opened
        await opened.close()
