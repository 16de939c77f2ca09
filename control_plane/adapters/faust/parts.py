"""This process's part in a consumer group: a lane for each partition that was assigned to it.

The loop's part has rows and commits; another group's part has offsets only.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from faust.types import TP

from control_plane.adapters.faust.group_lane import GroupLane
from control_plane.adapters.faust.lane import Gate, Lane, Standing
from control_plane.adapters.faust.owner_lane import CommitLine, OwnerLane
from control_plane.adapters.faust.row_store import PartitionRows, RowsStore
from control_plane.adapters.faust.topics import Names
from control_plane.ports.backbone import Commit, GroupReader, Owner

Failed = Callable[[BaseException], None]


class OffsetCommitter(Protocol):
    """Commits a group's offsets, the newest only where several are waiting."""

    def note(self, tp: TP, offset: int, committed: Callable[[int], None]) -> None:
        """Commit this offset soon, and say so."""

    async def flush(self) -> None:
        """Wait until what was noted is committed, or cannot be any more."""


class WriteLines(Protocol):
    """Where a log writes commits and offsets."""

    def line(self, partition: int, rows: PartitionRows, committed: Callable[[Commit], None]) -> CommitLine: ...


class OwnerPart:
    """The loop group: partitions of `events.v1` with their rows."""

    acts_outside = False
    """What it writes stands behind what it read in the same log: one is not lost without the other."""
    gather_ms = 0

    def __init__(self, owner: Owner, *, names: Names, failed: Failed) -> None:
        self.lanes: dict[TP, OwnerLane] = {}
        self.above = names.above
        self._ending = asyncio.Lock()
        self.app: Any = None
        self.lines: WriteLines
        self._owner = owner
        self.failed = failed
        self._by_partition: dict[int, OwnerLane] = {}

    def begin(self, standings: Mapping[TP, Standing]) -> Mapping[TP, int]:
        store: RowsStore = next(iter(self.app.tables.values())).data
        for tp, standing in standings.items():
            self.lanes[tp] = self._by_partition[tp.partition] = self._lane(tp, standing, store)
        return {tp: lane.first_offset for tp, lane in self.lanes.items()}

    async def end(self) -> None:
        async with self._ending:  # Who comes second waits for the first, not for nothing.
            lanes, self.lanes, self._by_partition = list(self.lanes.values()), {}, {}
            await _end_all(lanes, self.failed)

    def lane(self, partition: int) -> OwnerLane | None:
        """The lane of a partition that is owned now."""
        return self._by_partition.get(partition)

    def _lane(self, tp: TP, standing: Standing, store: RowsStore) -> OwnerLane:
        rows = store.rows(tp.partition)
        gate: Gate = self.app.consumer

        def committed(commit: Commit) -> None:
            self._owner.committed(tp.partition, commit)

        return OwnerLane(
            tp,
            gate,
            standing,
            owner=self._owner,
            rows=rows,
            line=self.lines.line(tp.partition, rows, committed),
            failed=self.failed,
        )


class GroupPart:
    """Another group: a reader and its offsets."""

    acts_outside = True
    """Its reader may act on the world, so it must not be shown what a power cut could still take back."""

    def __init__(self, reader: GroupReader, *, names: Names, failed: Failed, gather_ms: int) -> None:
        self.gather_ms = gather_ms
        self.lanes: dict[TP, GroupLane] = {}
        self.above = names.above
        self._ending = asyncio.Lock()
        self.app: Any = None
        self.offsets: OffsetCommitter
        self._reader = reader
        self._names = names
        self.failed = failed

    def begin(self, standings: Mapping[TP, Standing]) -> Mapping[TP, int]:
        for tp, standing in standings.items():
            self.lanes[tp] = self._lane(tp, standing)
        return {tp: lane.first_offset for tp, lane in self.lanes.items()}

    async def end(self) -> None:
        async with self._ending:
            lanes, self.lanes = list(self.lanes.values()), {}
            await _end_all(lanes, self.failed)
            await self.offsets.flush()

    def _lane(self, tp: TP, standing: Standing) -> GroupLane:
        topic = self._names.above(tp.topic)
        return GroupLane(
            tp,
            self.app.consumer,
            standing,
            topic=topic,
            dense=self._names.dense(topic),
            reader=self._reader,
            note_offset=self.offsets.note,
            failed=self.failed,
        )


async def _end_all(lanes: Sequence[Lane], failed: Failed) -> None:
    """Every lane ends, also when the owner of another one raises on the way."""
    for error in await asyncio.gather(*(lane.end() for lane in lanes), return_exceptions=True):
        if isinstance(error, BaseException):
            failed(error)
