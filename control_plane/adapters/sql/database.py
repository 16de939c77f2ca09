"""One database: opened, brought to the newest schema, written in groups, read beside.

Whoever opens it twice for SQLite gets two writers that wait for each other: share one.
"""

from typing import Final, Self

import sqlalchemy as sa
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DBAPIError

from control_plane.adapters.sql.dialect import Durability, Fragments, fragments_of, open_runners
from control_plane.adapters.sql.group_writer import GroupWriter
from control_plane.adapters.sql.migrations import migrate
from control_plane.adapters.sql.runner import DATABASE_AWAY, DatabaseAway, Runner, T, Work
from control_plane.errors import AuditUnavailable, DataDamaged, InvalidSettings, SetpointError

_DAMAGE: Final = ("malformed", "not a database")
_DAMAGE_STATES: Final = ("XX001", "XX002")


class Unreachable(Exception):
    """The database does not answer, is locked, full or read-only. Each adapter turns it into its port's error."""


class Database:
    """An open database. Use `open`."""

    def __init__(self, url: URL, writer: Runner, reader: Runner) -> None:
        self._url = url
        self._runner = writer
        self._reader = reader
        self._writer = GroupWriter(writer)
        self.fragments: Fragments = fragments_of(url.get_backend_name())

    @classmethod
    async def open(cls, url: str, *, durability: Durability = "flush") -> Self:
        """Open and migrate. Raises AuditUnavailable, InvalidSettings, DataTooNew, DataDamaged."""
        parsed = _parsed(url)
        database = cls(parsed, *open_runners(parsed, durability))
        try:
            await database._migrate()
        except Unreachable as exc:
            await database.close()
            raise _not_opened(parsed, exc) from exc
        except BaseException:
            await database.close()
            raise
        return database

    @property
    def rounds_done(self) -> int:
        """How many transactions were committed."""
        return self._writer.rounds_done

    async def _migrate(self) -> None:
        try:
            await self._runner.run(migrate, patient=True)
        except (DatabaseAway, DBAPIError, OSError, TimeoutError) as exc:
            raise self._judged(exc) from exc

    async def write(self, work: Work[T]) -> T:
        """Do a piece of work in a transaction that it may share. Raises Unreachable: undone, or nobody knows."""
        try:
            return await self._writer.do(work)
        except (DatabaseAway, DBAPIError, OSError, TimeoutError) as exc:
            raise self._judged(exc) from exc

    async def read(self, work: Work[T]) -> T:
        """Do a piece of work that only reads, on one snapshot, beside the writer. Raises Unreachable."""
        try:
            return await self._reader.run(work)
        except (DatabaseAway, DBAPIError, OSError, TimeoutError) as exc:
            raise self._judged(exc) from exc

    async def now_ms(self) -> int:
        """The database's own time, milliseconds since the epoch. Raises Unreachable."""
        statement = sa.text(f"SELECT {self.fragments.now_ms}")
        return await self.read(lambda connection: int(connection.execute(statement).scalar_one()))

    async def close(self) -> None:
        """Write what waits, and let go."""
        await self._writer.close()
        await self._runner.close()
        await self._reader.close()

    def _judged(self, exc: Exception) -> Exception:
        told = exc.orig if isinstance(exc, DBAPIError) else exc
        said = str(told) or type(told).__name__
        if any(sign in said for sign in _DAMAGE) or getattr(told, "sqlstate", None) in _DAMAGE_STATES:
            return DataDamaged(
                f"The store {self._url.render_as_string()} is damaged ({said}), so nothing was written to it. "
                "Restore it from a backup; the log still holds every message."
            )
        if isinstance(exc, DATABASE_AWAY):
            return Unreachable(said)
        return exc


def _not_opened(url: URL, exc: Unreachable) -> SetpointError:
    """A server may be up again soon; a file that cannot be made stays so until somebody changes something."""
    said = f"The store {url.render_as_string()} cannot be opened ({exc}), so nothing was started. "
    if url.get_backend_name() == "sqlite":
        return InvalidSettings(f"{said}Check `store` in setpoint.yaml: this process must be able to write there.")
    return AuditUnavailable(f"{said}Start the database and let this user in, or correct `store`; then start again.")


def _parsed(url: str) -> URL:
    try:
        return sa.make_url(url)
    except ArgumentError as exc:
        raise InvalidSettings(
            f"store {url!r} is no database URL, so nothing was started. "
            "Write it as sqlite+aiosqlite:///data/audit.db or postgresql+asyncpg://user@host/name."
        ) from exc
