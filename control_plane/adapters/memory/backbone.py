"""The Backbone port over a MemoryLog: one process's part in it."""

import asyncio
from collections.abc import Mapping, Sequence

from control_plane.adapters.memory.lane import Lane, Order
from control_plane.adapters.memory.log import Committed, MemoryLog
from control_plane.messages import topics
from control_plane.ports.backbone import BATCH_RECORDS_MAX, LOOP_GROUP, Commit, GroupReader, Output, Owner, Position


class MemoryBackbone:
    """Takes part in the log's groups, all partitions of each.

    After `start` it runs in the background; `settle` returns when nothing is left to do, so no test needs to wait for
    time. Several may open one log after another, as processes do; two at once are not kept apart.
    """

    def __init__(self, log: MemoryLog, *, order: Order = "atomic") -> None:
        self.partitions = log.partitions(topics.EVENTS)
        self._log = log
        self._order = order
        self._lanes: list[Lane] = []
        self._owner: Owner | None = None
        self._groups: list[tuple[str, str, int, GroupReader]] = []
        self._grown = asyncio.Event()
        self._idle = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    def own_events(self, owner: Owner) -> None:
        """Take part in the loop group: before `start`."""
        self._owner = owner
        self._lanes = [Lane(self._log, number, owner, self._order) for number in range(self.partitions)]

    def join(self, group: str, topics: Sequence[str], reader: GroupReader) -> None:
        """Take part in another consumer group: before `start`."""
        self._groups += [(group, topic, n, reader) for topic in topics for n in range(self._log.partitions(topic))]

    async def start(self) -> None:
        """Take the partitions and begin."""
        for lane in self._lanes:
            await lane.assign()
        self._log.on_append(self._wake)
        self._running = asyncio.create_task(self._run(), name="memory backbone")

    async def settle(self) -> None:
        """Until every record was taken and every commit is durable. Raises what an owner or a reader raised."""
        assert self._running is not None, "start it first"
        self._wake()
        idle = asyncio.create_task(self._idle.wait())
        await asyncio.wait([idle, self._running], return_when=asyncio.FIRST_COMPLETED)
        idle.cancel()
        if self._running.done():
            self._running.result()

    def lag(self) -> Mapping[tuple[str, str, int], int]:
        """Records that each group has yet to commit."""
        places = [(LOOP_GROUP, topics.EVENTS, lane.partition) for lane in self._lanes]
        places += [(group, topic, partition) for group, topic, partition, _ in self._groups]
        return {place: self._log.bounds(*place[1:])[1] - (self._log.committed_offset(*place) or 0) for place in places}

    async def stop(self) -> None:
        """Leave the groups after what was taken is committed."""
        await self.settle()
        await self.crash()
        for lane in self._lanes:
            assert self._owner is not None
            await self._owner.revoked(lane.partition)

    async def crash(self) -> None:
        """Stop at once, as a killed process does; nobody is told."""
        if self._running is not None and not self._running.done():
            self._running.cancel()
            await asyncio.wait([self._running])

    async def append(self, outputs: Sequence[Output]) -> Sequence[Position]:
        """Append records."""
        return self._log.append(outputs)

    async def commit(self, partition: int, commit: Commit) -> None:
        """The one write, whole."""
        self._log.write(LOOP_GROUP, partition, commit)

    def _wake(self) -> None:
        self._idle.clear()
        self._grown.set()

    async def _run(self) -> None:
        while True:
            self._grown.clear()
            moved = [await self._run_lane(lane) for lane in self._lanes]
            moved += [await self._run_group(*member) for member in self._groups]
            if any(moved) or self._grown.is_set():
                await asyncio.sleep(0)
                continue
            self._idle.set()
            await self._grown.wait()

    async def _run_lane(self, lane: Lane) -> bool:
        taken = await lane.take()
        while lane.advance():
            pass
        return taken

    async def _run_group(self, group: str, topic: str, partition: int, reader: GroupReader) -> bool:
        place = (group, topic, partition)
        offset = self._log.committed_offset(*place) or 0
        records = self._log.fetch(topic, partition, offset, BATCH_RECORDS_MAX)
        if not records:
            return False
        await reader.take(topic, partition, records)
        self._log.committed[place] = Committed(records[-1].offset + 1)
        return True
