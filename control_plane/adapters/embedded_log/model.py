"""What goes into the log and comes out of it, beside the port's `Record` and `Position`; and its limits."""

from typing import Final, Literal

from msgspec import Struct

Durability = Literal["flush", "fsync"]
"""`flush`: with the system, survives the death of the process; `fsync`: on the device, survives power loss."""

TOPIC_NAME_CHARS_MAX: Final = 249
PARTITIONS_PER_TOPIC_MAX: Final = 1024
RECORD_BYTES_MAX: Final = 16 * 1024 * 1024
"""Key, value and headers of one record."""
WRITE_BYTES_MAX: Final = 64 * 1024 * 1024
"""All records of one write: it is one batch in memory before it is one batch on disk."""
METADATA_BYTES_MAX: Final = 64 * 1024
"""What may be stored with a committed offset."""


class Append(Struct, frozen=True):
    """One record to be appended to one partition."""

    topic: str
    partition: int
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()


class GroupOffset(Struct, frozen=True):
    """How far a consumer group has come in one partition: the next offset that it wants, and what it noted there."""

    group: str
    topic: str
    partition: int
    offset: int
    metadata: bytes = b""


class TopicConfig(Struct, frozen=True, kw_only=True):
    """How a topic is kept: for ever without retention; compacted means the newest record of each key."""

    partitions: int
    compacted: bool = False
    retention_ms: int | None = None
    retention_bytes: int | None = None


class Maintained(Struct, frozen=True, kw_only=True):
    """What one round of maintenance did. `more` says that it met its bound and another round would find work."""

    records_expired: int = 0
    records_compacted: int = 0
    more: bool = False
