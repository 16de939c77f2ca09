"""Everything that is known once the log is open: topics, partitions, committed offsets, as the store has them.

Found with one look per partition, never by scanning records.
"""

from collections.abc import Iterator

import msgspec

from control_plane.adapters.embedded_log.codec import (
    COMMITTED,
    KEPT,
    OFFSET,
    TOPIC,
    ChecksumBroken,
    partition_of,
    sealed,
    time_and_bytes,
    unsealed,
)
from control_plane.adapters.embedded_log.faults import damaged
from control_plane.adapters.embedded_log.model import GroupOffset, TopicConfig
from control_plane.adapters.embedded_log.partition import Partition
from control_plane.adapters.embedded_log.store import Store


class _StoredTopic(msgspec.Struct, frozen=True):
    id: int
    config: TopicConfig


class Index:
    """Topics, partitions and committed offsets."""

    def __init__(self) -> None:
        self.topics: dict[str, TopicConfig] = {}
        self.topic_ids: dict[str, int] = {}
        self.partitions: dict[tuple[str, int], Partition] = {}
        self.committed: dict[tuple[str, str, int], GroupOffset] = {}

    @classmethod
    def load(cls, store: Store) -> "Index":
        """Read it from the store. Raises DataDamaged."""
        index = cls()
        for key, body in _bodies(store, TOPIC):
            stored = msgspec.msgpack.decode(body, type=_StoredTopic)
            index.add_topic(key[1:].decode(), stored.id, stored.config)
        by_id = {(index.topic_ids[p.topic], p.number): p for p in index.partitions.values()}
        for key, body in _bodies(store, KEPT):
            kept = by_id[partition_of(key[1:9])]
            kept.first, kept.cleaned = OFFSET.unpack_from(body)[0], OFFSET.unpack_from(body, 8)[0]
        for key, body in _bodies(store, COMMITTED):
            partition = by_id[partition_of(key[1:9])]
            entry = GroupOffset(
                key[9:].decode(), partition.topic, partition.number, OFFSET.unpack_from(body)[0], body[8:]
            )
            index.committed[entry.group, entry.topic, entry.partition] = entry
        for partition in index.partitions.values():
            find_end(store, partition)
        return index

    def load_newer(self, store: Store) -> "Index":
        """Read it again from a store that has gone on. Raises DataDamaged, also where it seems to have gone back."""
        newer = Index.load(store)
        for place, known in self.partitions.items():
            found = newer.partitions.get(place)
            if found is None or found.next < known.next or found.first < known.first:
                raise damaged(store.path, f"{known.place} has lost records that it had", "Nothing new was read.")
        return newer

    def add_topic(self, name: str, topic_id: int, config: TopicConfig) -> None:
        """Take a topic in, with its partitions."""
        self.topics[name] = config
        self.topic_ids[name] = topic_id
        for number in range(config.partitions):
            if (name, number) not in self.partitions:
                self.partitions[name, number] = Partition(name, topic_id, number)


def find_end(store: Store, partition: Partition) -> None:
    """Find where a partition ends: the newest record is never removed, so it says so. Raises DataDamaged."""
    newest = store.last(partition.prefix, partition.end_key)
    if newest is None:
        if partition.first:
            raise damaged(store.path, f"{partition.place} has lost all its records", "Nothing was opened.")
        return
    key, stored = newest
    offset = OFFSET.unpack_from(key, 9)[0]
    try:
        partition.recorded_ms, bytes_before, size = time_and_bytes(key, stored)
    except ChecksumBroken as exc:
        detail = f"the checksum of {partition.place} offset {offset} does not hold"
        raise damaged(store.path, detail, "Nothing was opened.") from exc
    partition.next = offset + 1
    partition.bytes_end = bytes_before + size


def topic_entry(name: str, topic_id: int, config: TopicConfig) -> tuple[bytes, bytes]:
    """(key, value) that stores a topic."""
    key = TOPIC + name.encode()
    return key, sealed(key, msgspec.msgpack.encode(_StoredTopic(topic_id, config)))


def committed_entry(partition: Partition, entry: GroupOffset) -> tuple[bytes, bytes]:
    """(key, value) that stores a committed offset."""
    key = COMMITTED + partition.part + entry.group.encode()
    return key, sealed(key, OFFSET.pack(entry.offset) + entry.metadata)


def kept_entry(partition: Partition, first: int, cleaned: int) -> tuple[bytes, bytes]:
    """(key, value) that stores where a partition begins and up to where it was compacted."""
    key = KEPT + partition.part
    return key, sealed(key, OFFSET.pack(first) + OFFSET.pack(cleaned))


def _bodies(store: Store, kind: bytes) -> Iterator[tuple[bytes, bytes]]:
    end = bytes([kind[0] + 1])
    for key, value in store.items(kind, end):
        try:
            yield key, unsealed(key, value)
        except ChecksumBroken as exc:
            raise damaged(store.path, f"the checksum of entry {key!r} does not hold", "Nothing was opened.") from exc
    store.check(kind, end)
