"""The databases of a process: opened when they are first asked for, each once.

SQLAlchemy is loaded with the first of them, so a process that only folds events does without.
"""

import asyncio
from typing import TYPE_CHECKING

from control_plane.settings import Settings

if TYPE_CHECKING:
    from control_plane.adapters.sql import Database, SqlAudit, SqlLedger, SqlPositions


def look_at_store(settings: Settings) -> str:
    """What database the settings name. Blocking, for `setpoint doctor`. Raises AuditUnavailable, DataDamaged,
    DataTooNew."""
    from control_plane.adapters.sql import look_at

    return asyncio.run(look_at(settings.store))


class Stores:
    """Audit store, ledger and positions, where the settings say. All of them raise AuditUnavailable, InvalidSettings,
    DataTooNew and DataDamaged."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._open: dict[str, Database] = {}

    async def audit(self) -> "SqlAudit":
        """Where every message is kept."""
        from control_plane.adapters.sql import SqlAudit

        return SqlAudit(await self._database(self._settings.store, "audit"))

    async def ledger(self, *, sole: bool) -> "SqlLedger":
        """Where commands are. `sole` says that no other process uses it."""
        from control_plane.adapters.sql import SqlLedger

        return SqlLedger(await self._database(self._settings.ledger, "ledger"), sole=sole)

    async def positions(self) -> "SqlPositions":
        """How far triggers have come, beside the ledger: small writes, which must not wait for the recorder's."""
        from control_plane.adapters.sql import SqlPositions

        return SqlPositions(await self._database(self._settings.ledger, "ledger"))

    async def close(self) -> None:
        """Write what waits, and let go of all of them."""
        for database in self._open.values():
            await database.close()

    async def _database(self, url: str, use: str) -> "Database":
        """The one database at a URL: who opens a SQLite file twice gets two writers that wait for each other. On a
        server each use has connections of its own, so that a command does not wait for the recorder's batch."""
        from control_plane.adapters.sql import Database

        key = url if url.startswith("sqlite") else f"{use} at {url}"
        if key not in self._open:
            durability = self._settings.durability
            self._open[key] = await Database.open(url, durability=durability)  # type: ignore[arg-type]
        return self._open[key]
