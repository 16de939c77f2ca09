"""Reading a log without taking part in it: replay, recovery of controls, listings."""

from collections.abc import Iterator
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
