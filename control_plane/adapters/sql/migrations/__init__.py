"""Brings a database to the newest schema, in process and at the start.

A database of a newer Setpoint is left as it is. Alembic takes a quarter of a second to import, so only a database of an
older Setpoint goes through it: one that is up to date needs nothing, and an empty one gets the newest tables at once.
"""

from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from control_plane.adapters.sql.dialect import Turn, wait_for_turn
from control_plane.adapters.sql.schema import HEAD, tables_for
from control_plane.errors import DataTooNew

_SCRIPTS = Path(__file__).parent
_version = sa.Table(
    "alembic_version",
    sa.MetaData(),
    sa.Column("version_num", sa.String(32), nullable=False),
    sa.PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)
"""As Alembic makes it; it reads it when a later migration comes."""


def migrate(connection: Connection, target: str = "head") -> None:
    """Go up to the newest schema, or up or down to another one. Raises DataTooNew."""
    wait_for_turn(connection, Turn.MIGRATE)
    standing = _standing(connection)
    if target == "head" and (standing == HEAD or _created(connection)):
        return
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


def _created(connection: Connection) -> bool:
    """Whether the database was empty, and now has the newest tables."""
    if sa.inspect(connection).get_table_names():
        return False
    tables_for(connection.dialect.name).create_all(connection, checkfirst=False)
    _version.create(connection, checkfirst=False)
    connection.execute(_version.insert().values(version_num=HEAD))
    return True


def _standing(connection: Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    revision = connection.execute(sa.select(_version.c.version_num)).scalar()
    return str(revision) if revision is not None else None
