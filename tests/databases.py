"""Databases on a real PostgreSQL, one for each test that wants one."""

import contextlib
from collections.abc import AsyncIterator
from uuid import uuid4

import asyncpg
from sqlalchemy.engine import make_url


@contextlib.asynccontextmanager
async def own_database(postgres_url: str, options: str = "") -> AsyncIterator[str]:
    """URL of an empty database on the same server, which is gone afterwards, whoever still uses it."""
    name = f"test_{uuid4().hex}"
    async with server(postgres_url) as connection:
        await connection.execute(f"CREATE DATABASE {name} {options}")
    try:
        yield make_url(postgres_url).set(database=name).render_as_string(hide_password=False)
    finally:
        async with server(postgres_url) as connection:
            await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextlib.asynccontextmanager
async def server(url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection of the test's own."""
    connection = await asyncpg.connect(make_url(url).set(drivername="postgresql").render_as_string(hide_password=False))
    try:
        yield connection
    finally:
        await connection.close()
