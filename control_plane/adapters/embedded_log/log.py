"""The log itself: open it, append to it, read it, and keep it in bounds.

Synchronous and for one thread, the event loop's; only `durable` waits, for an fsync that runs beside the loop. It knows
nothing of consumers, members of groups or Faust.
"""

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Final, Self

from rocksdict import WriteBatch

from control_plane.adapters.embedded_log import limits
from control_plane.adapters.embedded_log.following import LOOKS_MAX, FollowingStore
from control_plane.adapters.embedded_log.group_sync import GroupSync
from control_plane.adapters.embedded_log.index import Index, topic_entry
from control_plane.adapters.embedded_log.maintenance import DIRTY_RECORDS_MIN, Maintenance
from control_plane.adapters.embedded_log.model import (
    Append,
    Durability,
    GroupOffset,
    Maintained,
    TopicConfig,
)
from control_plane.adapters.embedded_log.opening import Opened, open_to_read, open_to_write
from control_plane.adapters.embedded_log.partition import Partition, Tail
from control_plane.adapters.embedded_log.reading import read_records
from control_plane.adapters.embedded_log.staging import Staged
from control_plane.adapters.embedded_log.store import new_batch
from control_plane.errors import DataDamaged
from control_plane.ports.backbone import Position, Record

FREE_BYTES_MIN: Final = 64 * 1024 * 1024
"""With less free space on its disk nothing is appended: RocksDB needs room for its write buffers, and to tidy up."""

log = logging.getLogger(__name__)

Listener = Callable[[str, int], None]


def wall_clock_ms() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


class EmbeddedLog:
    """An open log. One process writes; `read_only` ones may read along and `refresh`."""

    def __init__(self, opened: Opened, durability: Durability, now_ms: Callable[[], int]) -> None:
        self.generation = opened.generation
        """Drawn when the data directory was created: tells a wiped log from the same log."""
        self._directory = opened.directory
        self._store = opened.store
        self._high_water = opened.high_water
        self._durability = durability
        self._now_ms = now_ms
        following = opened.store if isinstance(opened.store, FollowingStore) else None
        self._looks_max = LOOKS_MAX if following else 1
        self._index = following.caught_up(Index.load) if following else Index.load(opened.store)
        self._tail = Tail()
        self._listeners: list[Listener] = []
        self._group_sync = GroupSync(opened.store, opened.high_water) if opened.high_water else None
        self._maintenance = Maintenance(opened.store, lambda batch: self._commit(batch, 0, from_reserve=True))
        self._closed = False

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        durability: Durability = "flush",
        read_only: bool = False,
        now_ms: Callable[[], int] = wall_clock_ms,
        free_bytes_min: int = FREE_BYTES_MIN,
    ) -> Self:
        """Open the log at a path; create it where there is none.

        Raises DataInUse, DataTooNew, DataDamaged, StorageFull, InvalidSettings, BackboneUnavailable.
        """
        opened = open_to_read(path) if read_only else open_to_write(path, free_bytes_min=free_bytes_min)
        try:
            return cls(opened, durability, now_ms)
        except BaseException:
            _let_go(opened)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # Topics

    def topics(self) -> Mapping[str, TopicConfig]:
        """Every topic by name."""
        return MappingProxyType(self._index.topics)

    def create_topic(
        self,
        name: str,
        *,
        partitions: int,
        compacted: bool = False,
        retention_ms: int | None = None,
        retention_bytes: int | None = None,
    ) -> None:
        """Create a topic, or take over its changed retention and compaction. Raises InvalidSettings, StorageFull."""
        config = TopicConfig(
            partitions=partitions, compacted=compacted, retention_ms=retention_ms, retention_bytes=retention_bytes
        )
        present = self._index.topics.get(name)
        limits.check_topic(name, config, present)
        if config == present:
            return
        self._prepare_to_write()
        topic_id = self._index.topic_ids.get(name, len(self._index.topic_ids) + 1)
        batch = new_batch()
        batch.put(*topic_entry(name, topic_id, config))
        self._commit(batch, 0)
        self._index.add_topic(name, topic_id, config)

    # Writing

    def write(self, appends: Sequence[Append], offsets: Sequence[GroupOffset] = ()) -> list[Position]:
        """Append records and commit offsets as one: all of it or, when this raises, nothing.

        Raises StorageFull, InvalidSettings (no such topic), InvalidMessage (out of bounds), BackboneUnavailable.
        """
        if not appends and not offsets:
            return []
        self._prepare_to_write()
        staged = Staged(self._index)
        try:
            staged.append(appends, self._now_ms())
            staged.commit_offsets(offsets)
            limits.check_write_bytes(staged.size_bytes)
            self._commit(staged.batch, staged.size_bytes)
        except BaseException:
            staged.undo()
            raise
        for entry in offsets:
            self._index.committed[entry.group, entry.topic, entry.partition] = entry
        self._tail.add(staged.appended)
        self._tell(staged.partitions)
        return [Position(record.topic, record.partition, record.offset) for _, record, _ in staged.appended]

    def _prepare_to_write(self, *, from_reserve: bool = False) -> None:
        assert not self._closed, "the log is closed"
        assert self._high_water is not None, "the log was opened read-only"
        if self._store.ailing:
            self._recover(from_reserve=from_reserve)

    def _recover(self, *, from_reserve: bool = False) -> None:
        """After a failed write the store is opened again, and what it holds is asked anew. Raises StorageFull."""
        assert self._high_water is not None, "only a writer recovers"
        self._store.open_again(from_reserve=from_reserve)
        self._index = Index.load(self._store)
        self._tail.clear()
        self._high_water.write(self._store.sequence, self._store.sequence)

    def _commit(self, batch: WriteBatch, size_bytes: int, *, from_reserve: bool = False) -> None:
        assert self._high_water is not None, "the log was opened read-only"
        sequence = self._store.write(batch, size_bytes, from_reserve=from_reserve)
        self._high_water.write(sequence, self._high_water.synced)

    def on_append(self, listener: Listener) -> Callable[[], None]:
        """Have a listener called after each write, once per (topic, partition); returns what ends it."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def _tell(self, partitions: Iterable[Partition]) -> None:
        for listener in tuple(self._listeners):
            for partition in partitions:
                try:
                    listener(partition.topic, partition.number)
                except Exception:  # The write stands: its writer must not hear of a failure and write again.
                    log.exception("append listener failed", extra={"topic": partition.topic})

    async def durable(self) -> None:
        """Wait until everything written so far is as durable as the setting asks. Raises StorageFull."""
        if self._durability == "flush" or self._group_sync is None:
            return
        if self._store.ailing:
            self._recover()
        await self._group_sync.wait()

    # Reading

    def read(
        self, topic: str, partition: int, offset: int, *, max_records: int = 500, max_bytes: int = 1 << 20
    ) -> list[Record]:
        """Records from an offset on, or from the first kept one; at least one if there is any. Raises DataDamaged.

        A read-only log that meets a hole refreshes itself before it calls it damage.
        """
        for _ in range(self._looks_max - 1):
            try:
                return read_records(self._store, self._partition(topic, partition), offset, max_records, max_bytes)
            except DataDamaged:
                self.refresh()
        return read_records(self._store, self._partition(topic, partition), offset, max_records, max_bytes)

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """(first kept offset, next offset)."""
        place = self._partition(topic, partition)
        return place.first, place.next

    def committed(self, group: str, topic: str, partition: int) -> GroupOffset | None:
        """What a group last committed in a partition."""
        return self._index.committed.get((group, topic, partition))

    def refresh(self) -> None:
        """See what the writer has written since. Only for a read-only log; raises DataDamaged."""
        assert isinstance(self._store, FollowingStore), "a writer sees everything at once"
        self._index = self._store.caught_up(self._index.load_newer)

    def _partition(self, topic: str, partition: int) -> Partition:
        found = self._index.partitions.get((topic, partition))
        if found is None:
            raise limits.unknown_partition(topic, partition)
        return found

    # Keeping

    def maintain(self, *, dirty_records_min: int = DIRTY_RECORDS_MIN) -> Maintained:
        """One bounded round of retention and compaction, even on a full disk. Raises DataDamaged, StorageFull."""
        self._prepare_to_write(from_reserve=True)
        return self._maintenance.round(self._index, self._now_ms(), dirty_records_min)

    def close(self) -> None:
        """Put everything on the device and let go of the directory. A second call does nothing."""
        if self._closed:
            return
        self._closed = True
        if self._group_sync is not None:
            self._group_sync.close()
        _let_go(
            Opened(
                directory=self._directory, store=self._store, high_water=self._high_water, generation=self.generation
            )
        )


def _let_go(opened: Opened) -> None:
    try:
        if opened.high_water is not None and not opened.store.ailing:
            opened.store.sync()
            opened.high_water.write(opened.high_water.acknowledged, opened.high_water.acknowledged)
    finally:
        opened.store.close()
        if opened.high_water is not None:
            opened.high_water.close()
        opened.directory.release()
