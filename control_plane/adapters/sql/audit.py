"""The audit store in SQL; see `ports.audit`."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from control_plane.adapters.sql.batches import NUL, insert, packed, storable
from control_plane.adapters.sql.database import Database, Unreachable
from control_plane.adapters.sql.dialect import Fragments, Turn, wait_for_turn
from control_plane.adapters.sql.schema import message_copies, messages
from control_plane.errors import AuditUnavailable
from control_plane.ports.audit import PAGE_MESSAGES_MAX, Appended, Kept, Page, RecordedMessage

_COLUMNS = (
    "topic",
    "log_partition",
    "log_offset",
    "message_id",
    "source",
    "type",
    "subject",
    "correlation_id",
    "causation_id",
    "occurred_ms",
    "recorded_ms",
    "body",
)
_KEPT = sa.select(
    messages,
    sa.select(sa.func.count())
    .select_from(message_copies)
    .where(message_copies.c.sequence == messages.c.sequence)
    .scalar_subquery()
    .label("further_copies"),
)


class SqlAudit:
    """Messages in one table, further copies of them in another."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._count_copies = _count_copies_of(database.fragments)
        self._contradicting = _contradicting_of(database.fragments)

    async def append(self, messages: Sequence[RecordedMessage]) -> Appended:
        if not messages:
            return Appended(stored=0, copies=0, known=0, contradicting=0)
        rows = [_row(message) for message in messages]
        try:
            return await self._database.write(lambda connection: self._append(connection, rows))
        except Unreachable as exc:
            raise _unavailable(exc, "so nothing was recorded; the recorder goes on from the log") from exc

    async def query(self, page: Page) -> Sequence[Kept]:
        return await self._read(_page_of(page))

    async def get(self, message_id: str) -> Sequence[Kept]:
        return await self._read(
            _KEPT.where(messages.c.message_id == storable(message_id)).order_by(messages.c.sequence)
        )

    async def _read(self, statement: sa.Select[Any]) -> Sequence[Kept]:
        try:
            rows = await self._database.read(lambda connection: connection.execute(statement).all())
        except Unreachable as exc:
            raise _unavailable(exc, "so nothing can be shown") from exc
        return [_kept(row) for row in rows]

    def _append(self, connection: Connection, rows: Sequence[tuple[Any, ...]]) -> Appended:
        wait_for_turn(connection, Turn.APPEND)
        asked = len(rows)
        stored = insert(connection, "messages", _COLUMNS, rows, "ON CONFLICT DO NOTHING")
        if stored == asked:
            return Appended(stored=stored, copies=0, known=0, contradicting=0)
        batch = packed(row[:5] for row in rows)
        copies = connection.execute(self._count_copies, {"batch": batch}).rowcount
        contradicting = connection.execute(self._contradicting, {"batch": batch}).scalar_one()
        return Appended(
            stored=stored, copies=copies, known=asked - stored - copies - contradicting, contradicting=contradicting
        )


def _row(message: RecordedMessage) -> tuple[Any, ...]:
    row = (
        message.topic,
        message.partition,
        message.offset,
        message.message_id,
        message.source,
        message.type,
        message.subject,
        message.correlation_id,
        message.causation_id,
        message.occurred_ms,
        message.recorded_ms,
        message.body,
    )
    texts = f"{message.message_id}{message.source}{message.type}{message.subject}{message.correlation_id}"
    return tuple(storable(value) for value in row) if NUL in texts or NUL in (message.causation_id or "") else row


def _count_copies_of(pieces: Fragments) -> sa.TextClause:
    """Rows of the batch that hold a stored message at another position than the stored one."""
    return sa.text(
        "INSERT INTO message_copies (topic, log_partition, log_offset, sequence) SELECT m.topic, "
        f"CAST(j.value->>1 AS INT), CAST(j.value->>2 AS BIGINT), m.sequence FROM {pieces.each} JOIN messages AS m "
        "ON m.message_id = j.value->>3 AND m.source = j.value->>4 AND m.topic = j.value->>0 "
        "WHERE m.log_partition <> CAST(j.value->>1 AS INT) OR m.log_offset <> CAST(j.value->>2 AS BIGINT) "
        "ON CONFLICT DO NOTHING"
    )


def _contradicting_of(pieces: Fragments) -> sa.TextClause:
    """Rows of the batch whose position holds another message."""
    return sa.text(
        f"SELECT count(*) FROM {pieces.each} JOIN messages AS m ON m.topic = j.value->>0 "
        "AND m.log_partition = CAST(j.value->>1 AS INT) AND m.log_offset = CAST(j.value->>2 AS BIGINT) "
        "WHERE m.message_id <> j.value->>3 OR m.source <> j.value->>4"
    )


def _page_of(page: Page) -> sa.Select[Any]:
    statement = _KEPT
    for name in ("topic", "type", "subject", "correlation_id"):
        wanted = getattr(page, name)
        if wanted is not None:
            statement = statement.where(messages.c[name] == storable(wanted))
    if page.newest_first:
        if page.after:
            statement = statement.where(messages.c.sequence < page.after)
        statement = statement.order_by(messages.c.sequence.desc())
    else:
        statement = statement.where(messages.c.sequence > page.after).order_by(messages.c.sequence)
    return statement.limit(max(1, min(page.limit, PAGE_MESSAGES_MAX)))


def _kept(row: Row[Any]) -> Kept:
    return Kept(
        sequence=row.sequence,
        copies=1 + row.further_copies,
        message=RecordedMessage(
            message_id=row.message_id,
            source=row.source,
            topic=row.topic,
            partition=row.log_partition,
            offset=row.log_offset,
            type=row.type,
            subject=row.subject,
            correlation_id=row.correlation_id,
            causation_id=row.causation_id,
            occurred_ms=row.occurred_ms,
            recorded_ms=row.recorded_ms,
            body=bytes(row.body),
        ),
    )


def _unavailable(exc: Exception, so: str) -> AuditUnavailable:
    return AuditUnavailable(
        f"The audit store cannot be reached ({exc}), {so}. "
        "Check the database named by `store` and the space on its disk."
    )
