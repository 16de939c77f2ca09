"""Records out of the log: from memory where it is the tail, else from the store, each judged by its checksum.

A record that should be there and is not is damage, and is said with its place; only where compaction has been may
offsets be missing.
"""

from control_plane.adapters.embedded_log.codec import ChecksumBroken, decode_record
from control_plane.adapters.embedded_log.partition import Partition
from control_plane.adapters.embedded_log.store import Store
from control_plane.errors import DataDamaged
from control_plane.ports.backbone import Record


def read_records(store: Store, partition: Partition, offset: int, records_max: int, bytes_max: int) -> list[Record]:
    """Records from an offset on, at least one if there is any. Raises DataDamaged with topic, partition and offset."""
    offset = max(offset, partition.first)
    if offset in partition.tail:
        return _from_tail(partition, offset, records_max, bytes_max)
    if offset >= partition.next:
        return []
    return _from_store(store, partition, offset, records_max, bytes_max)


def _from_tail(partition: Partition, offset: int, records_max: int, bytes_max: int) -> list[Record]:
    """Everything from a kept record on is kept, too, but for what compaction has removed."""
    tail = partition.tail
    found: list[Record] = []
    for at in range(offset, min(partition.next, offset + records_max)):
        record = tail.get(at)
        if record is None:
            continue
        bytes_max -= len(record.key) + len(record.value)
        if bytes_max < 0 and found:
            break
        found.append(record)
    return found


def _from_store(store: Store, partition: Partition, offset: int, records_max: int, bytes_max: int) -> list[Record]:
    topic, number = partition.topic, partition.number
    found: list[Record] = []
    due = offset
    for key, stored in store.items(partition.key_at(offset), partition.end_key):
        try:
            record = decode_record(key, stored, topic, number)
        except ChecksumBroken:
            raise _broken(store, partition, int.from_bytes(key[9:])) from None
        if record.offset > due and record.offset > partition.cleaned:
            raise _missing(store, partition, max(due, partition.cleaned), record.offset)
        bytes_max -= len(stored)
        if bytes_max < 0 and found:
            return found
        found.append(record)
        due = record.offset + 1
        if len(found) >= records_max:
            return found
    if due < partition.next:
        raise _missing(store, partition, due, partition.next)
    return found


def _broken(store: Store, partition: Partition, offset: int) -> DataDamaged:
    return DataDamaged(
        f"The log at {store.path} is damaged: the checksum of {partition.place} offset {offset} does not hold. "
        "Nothing from there on was read, nothing was repaired. Check the disk and restore the directory from a backup."
    )


def _missing(store: Store, partition: Partition, offset: int, found: int) -> DataDamaged:
    """RocksDB's iterators end at damage without a word, so its own words are asked for first."""
    complaint = store.complaint_about(partition.key_at(offset), partition.key_at(found))
    detail = " ".join(str(complaint.__cause__).split()) if complaint else "records are missing"
    return DataDamaged(
        f"The log at {store.path} is damaged: {partition.place} cannot be read from offset {offset} on ({detail}). "
        "Nothing from there on was read, nothing was repaired. Check the disk and restore the directory from a backup."
    )
