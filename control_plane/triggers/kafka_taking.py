"""Between a Kafka trigger and the client that reads for it: what is read and from where, and each record."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from msgspec import Struct


class Taken(Struct, frozen=True, kw_only=True):
    """One record of the topic, as it stands there."""

    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]


class Taker(Protocol):
    """Whom a topic is read for. `options` say how the brokers let us in; `begins_at_end` where a partition begins that
    was never read."""

    name: str
    servers: Sequence[str]
    topic: str
    group: str
    begins_at_end: bool
    options: Mapping[str, Any]

    async def positions(self) -> Mapping[int, int]:
        """The next offset of each partition that was ever read."""

    async def keep(self, positions: Mapping[int, int]) -> None:
        """Keep the next offset of partitions."""

    async def publish(self, records: Sequence[Taken]) -> None:
        """Make events of records; returns once they are safe."""
