"""Cuts the old end of a partition, by age and by size. The newest record always stays: it says where the next one goes.

Where to cut is found by bisection: append times never go back within a partition, and each record says how many bytes
came before it.
"""

from collections.abc import Callable
from typing import Final

from rocksdict import WriteBatch

from control_plane.adapters.embedded_log.codec import OFFSET, ChecksumBroken, time_and_bytes
from control_plane.adapters.embedded_log.faults import damaged
from control_plane.adapters.embedded_log.index import kept_entry
from control_plane.adapters.embedded_log.model import TopicConfig
from control_plane.adapters.embedded_log.partition import Partition
from control_plane.adapters.embedded_log.store import Store, new_batch

RANGE_DELETE_RECORDS_MIN: Final = 64
"""Fewer records are deleted one by one: many small range tombstones would slow down every read."""

_UNDONE: Final = "Nothing of this partition was removed."


def expire(
    store: Store, commit: Callable[[WriteBatch], None], partition: Partition, config: TopicConfig, now_ms: int
) -> int:
    """Remove what is too old or too much; returns how many offsets. Raises DataDamaged, StorageFull."""
    if partition.next - partition.first < 2:
        return 0
    cut = _cut(store, partition, config, now_ms)
    removed = cut - partition.first
    if removed <= 0:
        return 0
    batch = new_batch()
    if removed < RANGE_DELETE_RECORDS_MIN:
        for offset in range(partition.first, cut):
            batch.delete(partition.key_at(offset))
    else:
        batch.delete_range(partition.key_at(partition.first), partition.key_at(cut))
    batch.put(*kept_entry(partition, cut, partition.cleaned))
    commit(batch)
    _forget(partition, cut)
    return removed


def _cut(store: Store, partition: Partition, config: TopicConfig, now_ms: int) -> int:
    """The first offset that stays."""

    def too_old_or_much(offset: int) -> bool:
        recorded_ms, bytes_before = _facts(store, partition, offset)
        if config.retention_ms is not None and recorded_ms < now_ms - config.retention_ms:
            return True
        return config.retention_bytes is not None and partition.bytes_end - bytes_before > config.retention_bytes

    low, high = partition.first, partition.next - 1
    if not too_old_or_much(low):
        return low
    while low < high:
        middle = (low + high) // 2
        if too_old_or_much(middle):
            low = middle + 1
        else:
            high = middle
    return _kept_at(store, partition, low)


def _facts(store: Store, partition: Partition, offset: int) -> tuple[int, int]:
    """(recorded_ms, bytes before) of the first record at or after an offset."""
    key, stored = _record_from(store, partition, offset)
    try:
        recorded_ms, bytes_before, _ = time_and_bytes(key, stored)
    except ChecksumBroken as exc:
        detail = f"the checksum of {partition.place} offset {OFFSET.unpack_from(key, 9)[0]} does not hold"
        raise damaged(store.path, detail, _UNDONE) from exc
    return recorded_ms, bytes_before


def _kept_at(store: Store, partition: Partition, offset: int) -> int:
    """An offset may be missing in a topic that was once compacted."""
    kept: int = OFFSET.unpack_from(_record_from(store, partition, offset)[0], 9)[0]
    return kept


def _record_from(store: Store, partition: Partition, offset: int) -> tuple[bytes, bytes]:
    found = store.first(partition.key_at(offset), partition.end_key)
    if found is None:
        raise damaged(store.path, f"{partition.place} ends before offset {offset}", _UNDONE)
    return found


def _forget(partition: Partition, cut: int) -> None:
    for offset in range(partition.first, cut) if len(partition.tail) > cut - partition.first else list(partition.tail):
        if offset < cut:
            partition.tail.pop(offset, None)
    partition.first = cut
