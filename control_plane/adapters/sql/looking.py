"""A store as somebody looks at it who needs nothing from it: nothing is made, migrated or written there."""

import sqlite3
from contextlib import closing
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection
from sqlalchemy.exc import DBAPIError

from control_plane.adapters.sql.runner import DATABASE_AWAY
from control_plane.adapters.sql.schema import HEAD
from control_plane.errors import AuditUnavailable, DataDamaged, DataTooNew

_SCHEMA = "SELECT version_num FROM alembic_version"


async def look_at(url: str) -> str:
    """What database it is, and of which schema. Raises AuditUnavailable, DataDamaged, DataTooNew."""
    parsed = sa.make_url(url)
    try:
        if parsed.get_backend_name() == "sqlite":
            version, schema = _sqlite(parsed)
        else:
            version, schema = await _server(parsed)
    except (*DATABASE_AWAY, DBAPIError, sqlite3.OperationalError) as exc:
        told = exc.orig if isinstance(exc, DBAPIError) else exc
        raise AuditUnavailable(
            f"{parsed.render_as_string()} cannot be read ({told}). "
            "Start the database, let this user in, or correct `store`."
        ) from exc
    except sqlite3.DatabaseError as exc:
        raise DataDamaged(f"{parsed.render_as_string()} is damaged ({exc}). Restore it, or correct `store`.") from exc
    if schema is not None and schema > HEAD:
        raise DataTooNew(
            f"{parsed.render_as_string()} has schema {schema}, and the newest that this Setpoint knows is {HEAD}. "
            "Start the version of Setpoint that wrote it, or a newer one."
        )
    return f"{version}, {_words_for(schema)}"


def _words_for(schema: str | None) -> str:
    if schema is None:
        return "its tables are made at the first start"
    return f"schema {schema}" if schema == HEAD else f"schema {schema}, which the next start brings to {HEAD}"


def _sqlite(url: URL) -> tuple[str, str | None]:
    version = f"SQLite {sqlite3.sqlite_version}"
    if not Path(str(url.database)).exists():
        return version, None
    with closing(sqlite3.connect(f"file:{url.database}?mode=ro", uri=True)) as connection:
        known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone()
        return version, connection.execute(_SCHEMA).fetchone()[0] if known else None


async def _server(url: URL) -> tuple[str, str | None]:
    from control_plane.adapters.sql.async_engine import open_async_runners

    writer, reader = open_async_runners(url)
    try:
        return await reader.run(_told_by_server)
    finally:
        await reader.close()
        await writer.close()


def _told_by_server(connection: Connection) -> tuple[str, str | None]:
    version = f"PostgreSQL {connection.exec_driver_sql('SHOW server_version').scalar_one()}"
    if connection.exec_driver_sql("SELECT pg_is_in_recovery()").scalar_one():
        version += " as a standby, which takes no writes"
    known = sa.inspect(connection).has_table("alembic_version")
    return version, connection.exec_driver_sql(_SCHEMA).scalar() if known else None
