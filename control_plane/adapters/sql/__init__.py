"""Ledger, audit store and the positions of triggers in SQL: SQLite by default, other databases by URL.

Nothing here may know what a command means. `dialect.py` is the only module that may know which database it talks to.
"""

from control_plane.adapters.sql.audit import SqlAudit
from control_plane.adapters.sql.database import Database
from control_plane.adapters.sql.ledger import SqlLedger
from control_plane.adapters.sql.looking import look_at
from control_plane.adapters.sql.positions import SqlPositions

__all__ = ["Database", "SqlAudit", "SqlLedger", "SqlPositions", "look_at"]
