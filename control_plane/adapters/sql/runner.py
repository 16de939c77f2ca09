"""Who runs a piece of work in a database, and what is said when that is away; each database has a runner of its own."""

from collections.abc import Callable
from typing import Protocol, TypeVar

from sqlalchemy.engine import Connection
from sqlalchemy.exc import InterfaceError, OperationalError

T = TypeVar("T")
Work = Callable[[Connection], T]
READERS_MAX = 4
"""How many reads run at once; further ones wait."""


class DatabaseAway(Exception):
    """A database that is down, locked, full or out of reach, where its driver has many words for that."""


DATABASE_AWAY = (DatabaseAway, OperationalError, InterfaceError, OSError, TimeoutError)
"""What a database that is down, locked or full raises, and drivers let through."""


class Runner(Protocol):
    """Runs a piece of work in a transaction of its own."""

    async def run(self, work: Work[T], *, patient: bool = False) -> T:
        """`patient` says that it may take minutes. Raises what `DATABASE_AWAY` lists."""

    async def close(self) -> None:
        """Let go of every connection."""
