"""Keeps the log in bounds: a little work per round, so that the event loop is never held for long.

Rounds go from partition to partition and begin where the last one stopped.
"""

from collections.abc import Callable
from typing import Final

from rocksdict import WriteBatch

from control_plane.adapters.embedded_log.compaction import Compaction
from control_plane.adapters.embedded_log.index import Index
from control_plane.adapters.embedded_log.model import Maintained, TopicConfig
from control_plane.adapters.embedded_log.partition import Partition
from control_plane.adapters.embedded_log.retention import expire
from control_plane.adapters.embedded_log.store import Store

ROUND_RECORDS_MAX: Final = 500
"""Records looked at for compaction in one round, all partitions together."""
DIRTY_RECORDS_MIN: Final = 1000
"""A partition is compacted once so many records came since the last time: each costs two writes more."""

Committer = Callable[[WriteBatch], None]


class Maintenance:
    """Retention and compaction of all partitions, in turn."""

    def __init__(self, store: Store, commit: Committer) -> None:
        self._store = store
        self._commit = commit
        self._turn = 0

    def round(self, index: Index, now_ms: int, dirty_records_min: int) -> Maintained:
        """One bounded round. Raises DataDamaged, StorageFull; what earlier partitions did then stands."""
        due = [(p, index.topics[p.topic]) for p in index.partitions.values() if _kept_in_bounds(index.topics[p.topic])]
        cut: list[Partition] = []
        expired = compacted = 0
        budget = ROUND_RECORDS_MAX
        for step in range(len(due)):
            partition, config = due[(self._turn + step) % len(due)]
            if not config.compacted:
                removed = expire(self._store, self._commit, partition, config, now_ms)
                expired += removed
                cut += [partition] if removed else []
                continue
            work = Compaction(self._store, self._commit, partition, now_ms)
            seen, removed = work.round(budget, dirty_records_min)
            compacted += removed
            budget -= seen
            if budget <= 0:
                self._turn = (self._turn + step + 1) % len(due)
                break
        if cut:  # Once for all: a table holds records of many partitions, and is rewritten whole.
            self._store.reclaim(min(p.prefix for p in cut), max(p.key_at(p.first) for p in cut))
        return Maintained(records_expired=expired, records_compacted=compacted, more=budget <= 0)


def _kept_in_bounds(config: TopicConfig) -> bool:
    return config.compacted or config.retention_ms is not None or config.retention_bytes is not None
