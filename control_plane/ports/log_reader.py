"""Reading a log without taking part in it: replay, recovery of controls, listings; and following it as it grows."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from control_plane.ports.backbone import Record


class LogReader(Protocol):
    """A log that is only read. Blocking; used outside the event loop."""

    def partitions(self, topic: str) -> int:
        """How many partitions a topic has; 0 when there is no such topic."""

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """(offset of the first kept record, offset after the last one)."""

    def committed_offset(self, group: str, topic: str, partition: int) -> int | None:
        """The next offset that a consumer group wants, as it last committed it; None where it never did."""

    def read(self, topic: str, partition: int, offset: int = 0) -> Iterator[Record]:
        """Records from an offset to the end as it was when the call was made, in order."""

    def close(self) -> None:
        """Let go of the log."""


class LogTail(Protocol):
    """Partition 0 of some topics, followed. For one task of the event loop."""

    async def next(self) -> Sequence[Record]:
        """Wait until there are records, and give them. With a record of the first topic come all that were durable
        before it, of whatever topic, unless they came before. A record may come more than once.

        Raises BackboneUnavailable: the same call may work later."""

    async def close(self) -> None:
        """Let go of the log."""
