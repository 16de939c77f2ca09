"""Which partition a key belongs to, on every log: as Kafka's clients do it (murmur2)."""

from functools import lru_cache
from typing import cast

from aiokafka.partitioner import murmur2

KEYS_REMEMBERED_MAX = 65_536


@lru_cache(maxsize=KEYS_REMEMBERED_MAX)
def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a key among so many."""
    return (cast(int, murmur2(key)) & 0x7FFFFFFF) % partitions
