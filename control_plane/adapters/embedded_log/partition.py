"""What the log keeps in memory of each partition: where it begins and ends, and its newest records.

Consumers that keep up are served from here and never touch the store.
"""

from collections import deque
from typing import Final

from control_plane.adapters.embedded_log.codec import OFFSET, RECORD, partition_part
from control_plane.ports.backbone import Record

TAIL_BYTES_MAX: Final = 16 * 1024 * 1024
"""Newest records of all partitions together, with `RECORD_OVERHEAD_BYTES` for each."""
RECORD_OVERHEAD_BYTES: Final = 512
"""What a record costs in memory beside its key and value."""


class Partition:
    """One partition. Changed only by the log that owns it."""

    __slots__ = (
        "bytes_end", "cleaned", "end_key", "first", "next", "number", "part", "prefix", "recorded_ms", "tail", "topic"
    )  # fmt: skip

    def __init__(self, topic: str, topic_id: int, number: int) -> None:
        self.topic = topic
        self.number = number
        self.part = partition_part(topic_id, number)
        self.prefix = RECORD + self.part
        self.end_key = self.prefix + b"\xff" * 8
        self.first = 0
        """Offset of the first kept record."""
        self.next = 0
        """Offset of the record to be appended next."""
        self.cleaned = 0
        """Below it compaction has been: offsets may be missing there."""
        self.recorded_ms = 0
        """Append time of the newest record."""
        self.bytes_end = 0
        """Bytes ever appended; each record says how many came before it, so that sizes need no scan."""
        self.tail: dict[int, Record] = {}

    def key_at(self, offset: int) -> bytes:
        """The store's key of a record."""
        return self.prefix + OFFSET.pack(offset)

    @property
    def place(self) -> str:
        """How messages name it."""
        return f"{self.topic}/{self.number}"


class Tail:
    """Bounds what all partitions keep in memory: the oldest record of all goes first."""

    def __init__(self, bytes_max: int = TAIL_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._order: deque[tuple[Partition, int, int]] = deque()

    def add(self, appended: list[tuple[Partition, Record, int]]) -> None:
        """Keep records that were just appended."""
        order = self._order
        for partition, record, size in appended:
            partition.tail[record.offset] = record
            order.append((partition, record.offset, size))
            self._bytes += size + RECORD_OVERHEAD_BYTES
        while self._bytes > self._bytes_max:
            partition, offset, size = order.popleft()
            partition.tail.pop(offset, None)
            self._bytes -= size + RECORD_OVERHEAD_BYTES

    def clear(self) -> None:
        """Forget everything; readers go to the store."""
        for partition, _, _ in self._order:
            partition.tail.clear()
        self._order.clear()
        self._bytes = 0
