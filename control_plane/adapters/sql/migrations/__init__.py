"""Brings a database to the newest schema, in process and at the start.

A database of a newer Setpoint is left as it is.
"""

from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from control_plane.adapters.sql.schema import HEAD
from control_plane.errors import DataTooNew

_SCRIPTS = Path(__file__).parent


def migrate(connection: Connection, target: str = "head") -> None:
    """Go up to the newest schema, or up or down to another one. Raises DataTooNew."""
    standing = _standing(connection)
    if standing == HEAD and target == "head":
        return  # The usual start: Alembic takes a fifth of a second to import.
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS))
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if standing is not None and standing not in known:
        raise DataTooNew(
            f"The store has schema {standing}, which this Setpoint does not know (its newest is {HEAD}); nothing was "
            "changed. Start the version of Setpoint that wrote it, or a newer one."
        )
    if target == "base" or (standing is not None and target != "head" and target < standing):
        command.downgrade(config, target)
    else:
        command.upgrade(config, target)


def _standing(connection: Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    revision = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
    return str(revision) if revision is not None else None
