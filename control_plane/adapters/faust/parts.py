"""This process's part in a consumer group: a lane for each partition that was assigned to it.

The loop's part has rows and commits; another group's part has offsets only.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from faust.types import TP
from msgspec.structs import replace

from control_plane.adapters.faust.group_lane import GroupLane
from control_plane.adapters.faust.lane import Gate, Lane, Standing
from control_plane.adapters.faust.own_rows import WORD_KEY, decode_word
from control_plane.adapters.faust.owner_lane import CommitLine, OwnerLane
from control_plane.adapters.faust.row_store import PartitionRows, RowsStore
from control_plane.adapters.faust.topics import Names
from control_plane.errors import ContinuityBroken
from control_plane.ports.backbone import Commit, GroupReader, Owner, WentOn

_log = logging.getLogger(__name__)

Failed = Callable[[BaseException], None]


class OffsetCommitter(Protocol):
    """Commits a group's offsets, the newest only where several are waiting."""

    def note(self, tp: TP, offset: int, metadata: bytes, committed: Callable[[int], None]) -> None:
        """Commit this offset soon, and say so."""

    async def flush(self) -> None:
        """Wait until what was noted is committed, or cannot be any more."""


class WriteLines(Protocol):
    """How a log's partitions are taken, and where it writes their commits."""

    async def fence(self, partitions: Collection[int]) -> None:
        """Shut the former owners of these partitions out, and say on the log that they have a new one."""

    async def claim(self, rows: Mapping[int, PartitionRows]) -> Mapping[int, int]:
        """The epoch of each partition, once its rows are back."""

    def line(
        self, partition: int, rows: PartitionRows, generation: int, committed: Callable[[Commit], None]
    ) -> CommitLine:
        """For a partition that was claimed."""

    async def close(self) -> None:
        """Let everything go."""


class Standby(Protocol):
    """Keeps rows of partitions that others own."""

    def follow(self, partitions: Collection[int], store: RowsStore) -> None:
        """Keep these partitions' rows from now on, and no others."""

    async def end(self) -> None:
        """Nothing is written to the store after this returns."""

    def lag(self) -> Mapping[int, int]:
        """By partition, how many records are not here yet."""


class Stopped(NamedTuple):
    """A partition that waits for a person's word: why, and up to which generation of the log words were heeded."""

    why: str
    generation: int


class OwnerPart:
    """The loop group: partitions of `events.v1` with their rows."""

    acts_outside = False
    """What it writes stands behind what it read in the same log: one is not lost without the other."""
    gather_ms = 0

    def __init__(self, owner: Owner, *, names: Names, failed: Failed) -> None:
        self.lanes: dict[TP, OwnerLane] = {}
        self.stopped: dict[TP, Stopped] = {}
        self.above = names.above
        self._ending = asyncio.Lock()
        self.app: Any = None
        self.lines: WriteLines
        self.standby: Standby | None = None
        self._owner = owner
        self.failed = failed
        self._by_partition: dict[int, OwnerLane] = {}
        self._epochs: Mapping[int, int] = {}

    async def fence(self, partitions: Collection[int]) -> None:
        """Before the rows of these partitions are read."""
        await self.end()
        await self.lines.fence(partitions)

    async def claim(self, rows: Mapping[int, PartitionRows]) -> None:
        """After that, and before `begin`."""
        self._epochs = await self.lines.claim(rows)

    def keep_warm(self, partitions: Collection[int], store: RowsStore) -> None:
        """The rows of these partitions, which others own. They are let go when this part ends."""
        if self.standby is not None:
            self.standby.follow(partitions, store)

    def begin(self, standings: Mapping[TP, Standing]) -> Mapping[TP, int]:
        store: RowsStore = next(iter(self.app.tables.values())).data
        for tp, standing in standings.items():
            self.lanes[tp] = self._by_partition[tp.partition] = self._lane(tp, standing, store)
        return {tp: lane.first_offset for tp, lane in self.lanes.items()}

    async def end(self) -> None:
        async with self._ending:  # Who comes second waits for the first, not for nothing.
            lanes, self.lanes, self._by_partition = list(self.lanes.values()), {}, {}
            self.stopped = {}
            await _end_all(lanes, self.failed)
            if self.standby is not None:
                await self.standby.end()

    async def close(self) -> None:
        """Let go of what was claimed."""
        await self.lines.close()

    def lane(self, partition: int) -> OwnerLane | None:
        """The lane of a partition that is owned now."""
        return self._by_partition.get(partition)

    def _lane(self, tp: TP, standing: Standing, store: RowsStore) -> OwnerLane:
        rows = store.rows(tp.partition)
        gate: Gate = self.app.consumer
        word = decode_word(rows.get(WORD_KEY), tp.partition)
        if word.generation > standing.generation:
            standing = replace(standing, committed=word.next_offset)

        def committed(commit: Commit) -> None:
            self._owner.committed(tp.partition, commit)

        return OwnerLane(
            tp,
            gate,
            standing,
            owner=self._owner,
            rows=rows,
            line=self.lines.line(tp.partition, rows, word.generation, committed),
            epoch=self._epochs[tp.partition],
            generation=word.generation,
            failed=self.failed,
            stopped=self._stop,
        )

    def _stop(self, lane: Lane, broken: ContinuityBroken) -> None:
        if self.lanes.get(lane.tp) is lane:
            del self.lanes[lane.tp], self._by_partition[lane.tp.partition]
            self.stopped[lane.tp] = _stopped(lane, broken)


class GroupPart:
    """Another group: a reader and its offsets."""

    acts_outside = True
    """Its reader may act on the world, so it must not be shown what a power cut could still take back."""

    def __init__(self, reader: GroupReader, *, names: Names, failed: Failed, gather_ms: int) -> None:
        self.gather_ms = gather_ms
        self.lanes: dict[TP, GroupLane] = {}
        self.stopped: dict[TP, Stopped] = {}
        self.words: dict[int, WentOn] = {}
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
            self.stopped = {}
            await _end_all(lanes, self.failed)
            await self.offsets.flush()

    async def close(self) -> None:
        """Nothing was claimed."""

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
            word=self.words.get(tp.partition, WentOn(partition=tp.partition)),
            failed=self.failed,
            stopped=self._stop,
        )

    def _stop(self, lane: Lane, broken: ContinuityBroken) -> None:
        if self.lanes.get(lane.tp) is lane:
            del self.lanes[lane.tp]
            self.stopped[lane.tp] = _stopped(lane, broken)


def _stopped(lane: Lane, broken: ContinuityBroken) -> Stopped:
    _log.error("a partition stops until a person says go on", extra={"partition": lane.tp, "why": str(broken)})
    return Stopped(str(broken), lane.generation)


async def _end_all(lanes: Sequence[Lane], failed: Failed) -> None:
    """Every lane ends, also when the owner of another one raises on the way."""
    for error in await asyncio.gather(*(lane.end() for lane in lanes), return_exceptions=True):
        if isinstance(error, BaseException):
            failed(error)
