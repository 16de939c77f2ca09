"""Rows on their way to the database, many in one statement.

A call for each row would hand Python's lock back and forth with the event loop once a row, and in a busy process that
alone takes milliseconds. So what changes rows goes as one JSON text that the database takes apart, and what inserts
rows as a statement with many rows of values, which is twice as fast where rows are wide.
"""

from collections.abc import Iterable, Sequence
from functools import cache
from itertools import chain
from typing import Any, Final

import msgspec
from sqlalchemy.engine import Connection

from control_plane.adapters.sql.dialect import placeholder

NUL: Final = "\x00"
NUL_STAND_IN: Final = "\ufffd"
"""Databases cut or refuse texts with a NUL in them; bodies keep theirs."""

ROWS_PER_INSERT_MAX: Final = 1024
"""A power of two: batches are cut into such sizes, so that few statements serve all batches."""

_encoder = msgspec.json.Encoder()


def packed(rows: Iterable[Sequence[Any]]) -> str:
    """Rows as the parameter `:batch` of a statement."""
    gathered = list(rows)
    text = _encoder.encode(gathered).decode()
    if "\\u0000" in text:
        text = _encoder.encode([[storable(value) for value in row] for row in gathered]).decode()
    return text


def storable(value: Any) -> Any:
    """A value as a column can hold it."""
    return value.replace(NUL, NUL_STAND_IN) if isinstance(value, str) else value


def insert(
    connection: Connection, into: str, columns: tuple[str, ...], rows: Sequence[Sequence[Any]], tail: str = ""
) -> int:
    """Insert rows; gives how many were new. `into` is the table, `tail` what stands after the values."""
    inserted = 0
    done = 0
    while done < len(rows):
        size = min(ROWS_PER_INSERT_MAX, 1 << (len(rows) - done).bit_length() - 1)
        values = tuple(chain.from_iterable(rows[done : done + size]))
        statement = _insert_of(into, columns, size, tail, connection.dialect.paramstyle)
        inserted += connection.exec_driver_sql(statement, values).rowcount
        done += size
    return inserted


@cache
def _insert_of(into: str, columns: tuple[str, ...], rows: int, tail: str, paramstyle: str) -> str:
    width = len(columns)
    one = (
        "(" + ", ".join(placeholder(paramstyle, row * width + column) for column in range(1, width + 1)) + ")"
        for row in range(rows)
    )
    return f"INSERT INTO {into} ({', '.join(columns)}) VALUES {', '.join(one)} {tail}"
