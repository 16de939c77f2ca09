"""Removes the records of a compacted topic that a newer one of the same key has replaced.

Offsets stay as they are. Which record of a key is the newest is kept in the store beside the log, so that a round looks
only at what came since the last one and needs no memory for the keys. A tombstone (empty value) goes after
`TOMBSTONE_KEPT_MS`, so that a reader that is late still sees that the key is gone. The newest record of a partition is
never looked at.
"""

from collections.abc import Callable
from typing import Final

from rocksdict import WriteBatch

from control_plane.adapters.embedded_log.codec import (
    NEWEST,
    OFFSET,
    TOMBSTONE,
    ChecksumBroken,
    decode_record,
    sealed,
    unsealed,
)
from control_plane.adapters.embedded_log.faults import damaged
from control_plane.adapters.embedded_log.index import kept_entry
from control_plane.adapters.embedded_log.partition import Partition
from control_plane.adapters.embedded_log.store import Store, new_batch
from control_plane.ports.backbone import Record

TOMBSTONE_KEPT_MS: Final = 24 * 60 * 60 * 1000

_UNDONE: Final = "Nothing of this partition was compacted."


class Compaction:
    """One round on one partition."""

    def __init__(self, store: Store, commit: Callable[[WriteBatch], None], partition: Partition, now_ms: int) -> None:
        self._store = store
        self._commit = commit
        self._partition = partition
        self._tombstones_due_ms = now_ms - TOMBSTONE_KEPT_MS
        self._batch = new_batch()
        self._removed: set[int] = set()
        self._cleaned = partition.cleaned

    def round(self, records_max: int, dirty_records_min: int) -> tuple[int, int]:
        """(records looked at, records removed). Raises DataDamaged, StorageFull."""
        partition = self._partition
        seen = self._drop_due_tombstones(records_max)
        if partition.next - 1 - partition.cleaned >= dirty_records_min and records_max > seen:
            seen += self._clean(records_max - seen)
        if not self._removed and self._cleaned == partition.cleaned:
            return seen, 0
        first = self._first_kept()
        self._batch.put(*kept_entry(partition, first, self._cleaned))
        self._commit(self._batch)
        for offset in self._removed:
            partition.tail.pop(offset, None)
        partition.first, partition.cleaned = first, self._cleaned
        return seen, len(self._removed)

    def _clean(self, records_max: int) -> int:
        """Look at the records that came since the last round, but for the newest of the partition."""
        dirty = self._dirty(records_max)
        if not dirty:
            return 0
        newest = {record.key: record for record in dirty}
        for record in dirty:
            if newest[record.key] is not record:
                self._remove(record.offset)
        index_keys = [self._index_key(key) for key in newest]
        for index_key, known, record in zip(index_keys, self._store.get_many(index_keys), newest.values(), strict=True):
            if known is not None:
                self._remove(self._offset_in(index_key, known))
            self._keep(index_key, record)
        self._cleaned = dirty[-1].offset + 1
        return len(dirty)

    def _dirty(self, records_max: int) -> list[Record]:
        partition = self._partition
        start, end = partition.key_at(max(partition.cleaned, partition.first)), partition.key_at(partition.next - 1)
        dirty: list[Record] = []
        for key, stored in self._store.items(start, end):
            try:
                dirty.append(decode_record(key, stored, partition.topic, partition.number))
            except ChecksumBroken as exc:
                raise self._broken(f"offset {OFFSET.unpack_from(key, 9)[0]}") from exc
            if len(dirty) >= records_max:
                return dirty
        self._store.check(start, end)
        return dirty

    def _keep(self, index_key: bytes, record: Record) -> None:
        """Note the newest record of a key; a tombstone also goes on the list of those that fall due."""
        if record.value:
            self._batch.put(index_key, sealed(index_key, OFFSET.pack(record.offset)))
        elif record.recorded_ms < self._tombstones_due_ms:
            self._remove(record.offset)
            self._batch.delete(index_key)
        else:
            self._batch.put(index_key, sealed(index_key, OFFSET.pack(record.offset)))
            waiting = self._tombstone_key(record.offset)
            self._batch.put(waiting, sealed(waiting, OFFSET.pack(record.recorded_ms) + record.key))

    def _drop_due_tombstones(self, records_max: int) -> int:
        """Waiting tombstones stand in the order of their offsets, and so of their times."""
        seen = 0
        start = TOMBSTONE + self._partition.part
        end = start + b"\xff" * 9
        for waiting, value in self._store.items(start, end):
            body = self._unsealed(waiting, value)
            if OFFSET.unpack_from(body)[0] >= self._tombstones_due_ms or seen >= records_max:
                break
            seen += 1
            offset = OFFSET.unpack_from(waiting, 9)[0]
            index_key = self._index_key(body[8:])
            known = self._store.get(index_key)
            if known is not None and self._offset_in(index_key, known) == offset:
                self._remove(offset)
                self._batch.delete(index_key)
            self._batch.delete(waiting)
        else:
            self._store.check(start, end)
        return seen

    def _remove(self, offset: int) -> None:
        self._batch.delete(self._partition.key_at(offset))
        self._removed.add(offset)

    def _first_kept(self) -> int:
        if self._partition.first not in self._removed:
            return self._partition.first
        start = self._partition.key_at(self._partition.first)
        for key, _ in self._store.items(start, self._partition.end_key):
            offset: int = OFFSET.unpack_from(key, 9)[0]
            if offset not in self._removed:
                return offset
        raise self._broken("its end")

    def _index_key(self, key: bytes) -> bytes:
        return NEWEST + self._partition.part + key

    def _tombstone_key(self, offset: int) -> bytes:
        return TOMBSTONE + self._partition.part + OFFSET.pack(offset)

    def _offset_in(self, index_key: bytes, value: bytes) -> int:
        offset: int = OFFSET.unpack_from(self._unsealed(index_key, value))[0]
        return offset

    def _unsealed(self, key: bytes, value: bytes) -> bytes:
        try:
            return unsealed(key, value)
        except ChecksumBroken as exc:
            raise self._broken(f"entry {key!r}") from exc

    def _broken(self, what: str) -> Exception:
        return damaged(self._store.path, f"the checksum of {self._partition.place} {what} does not hold", _UNDONE)
