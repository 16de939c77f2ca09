"""The Positions port in SQL: one row per trigger and key."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from control_plane.adapters.sql.batches import insert
from control_plane.adapters.sql.database import Database, Unreachable
from control_plane.adapters.sql.schema import trigger_positions as table
from control_plane.errors import PositionsUnavailable

_COLUMNS: Final = ("trigger_name", "position_key", "position")
_REPLACE: Final = "ON CONFLICT (trigger_name, position_key) DO UPDATE SET position = excluded.position"
_READ: Final = sa.select(table.c.position_key, table.c.position)


class SqlPositions:
    """Positions in a database that others may use as well."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self, trigger: str) -> Mapping[str, Any]:
        """All that a trigger has kept."""

        def work(connection: Connection) -> dict[str, str]:
            rows = connection.execute(_READ.where(table.c.trigger_name == trigger))
            return {row.position_key: row.position for row in rows}

        try:
            found = await self._database.read(work)
        except Unreachable as exc:
            raise PositionsUnavailable(
                f"The positions of trigger {trigger} cannot be read ({exc}), so it has not begun. Check the database."
            ) from exc
        return {key: msgspec.json.decode(text) for key, text in found.items()}

    async def write(self, trigger: str, positions: Mapping[str, Any]) -> None:
        """Keep values under their keys."""
        # Encoded before the transaction: what is no JSON is the caller's bug, and must not end somebody else's work.
        kept = [
            (trigger, key, msgspec.json.encode(value).decode()) for key, value in positions.items() if value is not None
        ]
        forgotten = [key for key, value in positions.items() if value is None]

        def work(connection: Connection) -> None:
            insert(connection, "trigger_positions", _COLUMNS, kept, _REPLACE)
            if forgotten:
                ours = table.c.trigger_name == trigger
                connection.execute(sa.delete(table).where(ours, table.c.position_key.in_(forgotten)))

        try:
            await self._database.write(work)
        except Unreachable as exc:
            raise PositionsUnavailable(
                f"The positions of trigger {trigger} cannot be written ({exc}), so it waits; what it has read since "
                "will be read again. Check the database: it must be up, and have room."
            ) from exc
