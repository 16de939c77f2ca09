"""What could not be processed: the record, where it stood, and why. Nothing is lost."""

from msgspec import Struct

from control_plane.causality import Lineage, digest
from control_plane.causality.lineage import SOURCE
from control_plane.errors import InvalidMessage

RECORD_BYTES_MAX = 64 * 1024
"""How much of a record is kept in its dead letter; the log itself still holds the whole at the position named."""


class DeadLetter(Struct, frozen=True, kw_only=True):
    """One record, or one agent's failure on it. `record` is the beginning of the record, base64 on the wire."""

    lineage: Lineage
    subject: str
    occurred_ms: int
    topic: str
    partition: int
    offset: int
    code: str
    detail: str
    field: str | None
    cure: str
    agent: str | None
    record: bytes
    record_bytes: int

    @classmethod
    def of(
        cls,
        *,
        topic: str,
        partition: int,
        offset: int,
        recorded_ms: int,
        record: bytes,
        reason: InvalidMessage,
        subject: str = "",
        agent: str | None = None,
    ) -> "DeadLetter":
        """The dead letter of a record; the same record and reason always give the same one."""
        identity = digest("dead_letter", topic, str(partition), str(offset), agent or "")
        return cls(
            lineage=Lineage.root(SOURCE, identity),
            subject=subject or f"partition/{partition}",
            occurred_ms=recorded_ms,
            topic=topic,
            partition=partition,
            offset=offset,
            code=reason.code,
            detail=reason.detail,
            field=reason.field,
            cure=reason.cure,
            agent=agent,
            record=record[:RECORD_BYTES_MAX],
            record_bytes=len(record),
        )
