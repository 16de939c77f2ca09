"""The Backbone port over a MemoryLog: one process's part in it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from control_plane.adapters.memory.lane import Lane, Order
from control_plane.adapters.memory.log import Committed, MemoryLog
from control_plane.errors import BackboneUnavailable, ContinuityBroken, InvalidSettings, TemporaryError
from control_plane.messages import topics
from control_plane.ports.backbone import (
    BATCH_RECORDS_MAX,
    LOOP_GROUP,
    Commit,
    GroupReader,
    Output,
    Owner,
    Position,
    WentOn,
)

_log = logging.getLogger(__name__)

Step = Callable[[], Awaitable[bool]]
"""Takes the next batch of one partition; says whether there was one."""


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
        self._stopped: dict[tuple[str, str, int], str] = {}
        self._grown: list[asyncio.Event] = []
        self._busy: set[int] = set()
        self._idle = asyncio.Event()
        self._running: list[asyncio.Task[None]] = []
        self._broken: asyncio.Future[BaseException] | None = None
        self._forget: Callable[[], None] = lambda: None

    def own_events(self, owner: Owner) -> None:
        """Take part in the loop group: before `start`."""
        self._owner = owner
        self._lanes = [Lane(self._log, number, owner, self._order) for number in range(self.partitions)]

    def join(self, group: str, topics: Sequence[str], reader: GroupReader, *, gather_ms: int = 0) -> None:
        """Take part in another consumer group: before `start`."""
        if group == LOOP_GROUP or group in {joined for joined, *_ in self._groups}:
            raise InvalidSettings(f"group {group!r} was already joined. Nothing was changed. Choose another name.")
        for topic in topics:
            if not self._log.partitions(topic):
                raise InvalidSettings(f"there is no topic {topic!r}. Nothing was joined.")
        self._groups += [(group, topic, n, reader) for topic in topics for n in range(self._log.partitions(topic))]

    async def start(self) -> None:
        """Take the partitions and begin. They go on side by side, so that one that waits holds up no other."""
        self._broken = asyncio.get_running_loop().create_future()
        self._stopped = {}
        for lane in self._lanes:
            await self._assign(lane)
        steps = [self._step_of_lane(lane) for lane in self._lanes]
        steps += [self._step_of_group(*member) for member in self._groups]
        self._grown = [asyncio.Event() for _ in steps]
        self._forget = self._log.on_append(self._wake)
        self._wake()
        self._running = [asyncio.create_task(self._run(number, step)) for number, step in enumerate(steps)]

    async def settle(self) -> None:
        """Until every record was taken and every commit is durable. Raises what an owner or a reader raised."""
        assert self._broken is not None, "start it first"
        self._wake()
        idle = asyncio.create_task(self._idle.wait())
        either: list[asyncio.Future[Any]] = [idle, self._broken]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        idle.cancel()
        if self._broken.done():
            raise self._broken.result()

    async def watch(self) -> None:
        """Raises what an owner or a reader raised; waits for it as long as all is well."""
        assert self._broken is not None, "a backbone is watched while it is started"
        raise await asyncio.shield(self._broken)

    def lag(self) -> Mapping[tuple[str, str, int], int]:
        """Records that each group has yet to commit."""
        if not self._running:
            return {}
        places = [(LOOP_GROUP, topics.EVENTS, lane.partition) for lane in self._lanes]
        places += [(group, topic, partition) for group, topic, partition, _ in self._groups]
        return {place: self._log.bounds(*place[1:])[1] - (self._log.committed_offset(*place) or 0) for place in places}

    async def stop(self) -> None:
        """Leave the groups after what was taken is committed."""
        if self._broken is None:
            return
        if not self._broken.done():
            await self.settle()
        await self.crash()
        for lane in self._lanes:
            if (LOOP_GROUP, topics.EVENTS, lane.partition) not in self._stopped:
                await self._revoke(lane)

    async def crash(self) -> None:
        """Stop at once, as a killed process does; nobody is told."""
        self._forget()
        self._forget = lambda: None
        running, self._running, self._broken = self._running, [], None
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)

    def stopped(self) -> Mapping[tuple[str, str, int], str]:
        """Partitions in which nothing is taken until a person says so."""
        return dict(self._stopped)

    async def go_on(self, partition: int, from_offset: int | None = None) -> WentOn:
        """Take a partition that is stopped over the log as it is."""
        if not 0 <= partition < self.partitions:
            raise InvalidSettings(f"there is no partition {partition}. Nothing was changed.")
        places = [place for place in self._stopped if place[2] == partition]
        said = self._log.go_on(partition, from_offset) if places else self._log.word_on(partition)
        for place in places:
            del self._stopped[place]
            if place[0] == LOOP_GROUP:
                await self._assign(self._lanes[partition])
            else:
                self._log.committed[place] = Committed(self._log.bounds(place[1], partition)[0])
        self._wake()
        return said

    async def append(self, outputs: Sequence[Output]) -> Sequence[Position]:
        """Append records."""
        return self._log.append(outputs)

    async def commit(self, partition: int, commit: Commit) -> None:
        """The one write, whole."""
        if not self._running or partition not in {lane.partition for lane in self._lanes}:
            raise BackboneUnavailable(f"partition {partition} is not owned by this process. Nothing was written.")
        self._lanes[partition].write(commit)

    async def _assign(self, lane: Lane) -> None:
        try:
            await lane.assign()
        except ContinuityBroken as broken:
            await self._stop_at(lane, broken)

    async def _stop_at(self, lane: Lane, broken: ContinuityBroken) -> None:
        self._stopped[LOOP_GROUP, topics.EVENTS, lane.partition] = str(broken)
        await self._revoke(lane)

    async def _revoke(self, lane: Lane) -> None:
        assert self._owner is not None, "a lane has an owner"
        await self._owner.revoked(lane.partition)

    def _wake(self) -> None:
        self._busy.update(range(len(self._grown)))
        self._idle.clear()
        for grown in self._grown:
            grown.set()
        if not self._grown:
            self._idle.set()

    async def _run(self, number: int, step: Step) -> None:
        try:
            await self._go_on(number, step)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is for those who settle or watch
            if self._broken is not None and not self._broken.done():
                self._broken.set_result(error)

    async def _go_on(self, number: int, step: Step) -> None:
        grown = self._grown[number]
        while True:
            grown.clear()
            if await step():
                await asyncio.sleep(0)
                continue
            if not grown.is_set():
                self._busy.discard(number)
                if not self._busy:
                    self._idle.set()
                await grown.wait()

    def _step_of_lane(self, lane: Lane) -> Step:
        async def step() -> bool:
            if (LOOP_GROUP, topics.EVENTS, lane.partition) in self._stopped:
                return False
            try:
                taken = await lane.take()
            except ContinuityBroken as broken:
                await self._stop_at(lane, broken)
                return False
            while lane.advance():
                pass
            return taken

        return step

    def _step_of_group(self, group: str, topic: str, partition: int, reader: GroupReader) -> Step:
        place = (group, topic, partition)

        async def step() -> bool:
            if place in self._stopped:
                return False
            offset = self._log.committed_offset(*place) or 0
            try:
                self._log.check_kept(topic, partition, offset)
            except ContinuityBroken as broken:
                self._stopped[place] = str(broken)
                return False
            records = self._log.fetch(topic, partition, offset, BATCH_RECORDS_MAX)
            if not records:
                return False
            try:
                await reader.take(topic, partition, records)
            except TemporaryError as error:
                _log.warning("a reader is not ready, its batch comes again", extra={"topic": topic, "why": str(error)})
                return True
            self._log.committed[place] = Committed(records[-1].offset + 1)
            return True

        return step
