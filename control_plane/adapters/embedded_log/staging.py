"""One write while it is put together: the batch, and what it does to the partitions' ends.

Offsets are given out here, before anything is stored; `undo` takes them back.
"""

from collections.abc import Iterable, Sequence

from control_plane.adapters.embedded_log import limits
from control_plane.adapters.embedded_log.codec import encode_record
from control_plane.adapters.embedded_log.index import Index, committed_entry
from control_plane.adapters.embedded_log.model import RECORD_BYTES_MAX, Append, GroupOffset
from control_plane.adapters.embedded_log.partition import Partition
from control_plane.adapters.embedded_log.store import new_batch
from control_plane.ports.backbone import Record


class Staged:
    """A write that is not stored yet."""

    def __init__(self, index: Index) -> None:
        self.batch = new_batch()
        self.appended: list[tuple[Partition, Record, int]] = []
        """Partition, record and stored bytes, in the order of the appends."""
        self.size_bytes = 0
        self._index = index
        self._ends_before: dict[Partition, tuple[int, int, int]] = {}

    @property
    def partitions(self) -> Iterable[Partition]:
        """The partitions that it appends to."""
        return self._ends_before

    def append(self, appends: Sequence[Append], now_ms: int) -> None:
        """Encode records and move the partitions' ends. Raises InvalidSettings, InvalidMessage.

        The hottest lines of the log: one record costs two microseconds here, so nothing is looked up twice.
        """
        partitions, ends_before, put, appended = (
            self._index.partitions,
            self._ends_before,
            self.batch.put,
            self.appended,
        )
        for append in appends:
            topic, number, key, value, headers = (
                append.topic,
                append.partition,
                append.key,
                append.value,
                append.headers,
            )
            partition = partitions.get((topic, number))
            if partition is None:
                raise limits.unknown_partition(topic, number)
            if partition not in ends_before:
                ends_before[partition] = (partition.next, partition.bytes_end, partition.recorded_ms)
                partition.recorded_ms = max(now_ms, partition.recorded_ms)  # the clock may go back, the log may not
            offset, recorded_ms = partition.next, partition.recorded_ms
            store_key = partition.key_at(offset)
            stored = encode_record(store_key, recorded_ms, partition.bytes_end, key, headers, value)
            size = len(stored)
            if size > RECORD_BYTES_MAX:
                raise limits.record_too_large(topic, size)
            put(store_key, stored)
            partition.next = offset + 1
            partition.bytes_end += size
            self.size_bytes += size
            record = Record(
                topic=topic,
                partition=number,
                offset=offset,
                key=key,
                value=value,
                recorded_ms=recorded_ms,
                headers=headers,
            )
            appended.append((partition, record, size))

    def commit_offsets(self, offsets: Sequence[GroupOffset]) -> None:
        """Add committed offsets. Raises InvalidSettings, InvalidMessage."""
        for entry in offsets:
            limits.check_offset(entry)
            partition = self._index.partitions.get((entry.topic, entry.partition))
            if partition is None:
                raise limits.unknown_partition(entry.topic, entry.partition)
            key, value = committed_entry(partition, entry)
            self.batch.put(key, value)
            self.size_bytes += len(value)

    def undo(self) -> None:
        """Give the offsets back: nothing of this was stored."""
        for partition, end in self._ends_before.items():
            partition.next, partition.bytes_end, partition.recorded_ms = end
