"""The Backbone port of one simulated process: its part in every group, on a log that all of them share."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from msgspec import Struct

from control_plane.errors import BackboneUnavailable, TemporaryError
from control_plane.messages import topics
from control_plane.ports.backbone import LOOP_GROUP, Commit, GroupReader, Output, Owner, Position, Record, WentOn
from control_plane.simulation.coordinator import Coordinator, Granted
from control_plane.simulation.event_loop import Process, VirtualLoop
from control_plane.simulation.log import Committed, Place, SimulatedLog
from control_plane.simulation.owning import OwnedPartition
from control_plane.simulation.plan import Setting
from control_plane.simulation.trace import Trace
from control_plane.simulation.wire import Wire

T = TypeVar("T")

BEAT_S = 0.7
READER_PAUSE_S = 0.2


class Stage(Struct, frozen=True):
    """What all processes of a run share."""

    loop: VirtualLoop
    log: SimulatedLog
    wire: Wire
    coordinator: Coordinator
    trace: Trace
    setting: Setting


class SimulatedBackbone:
    """One process's part in the log."""

    def __init__(self, stage: Stage, process: Process) -> None:
        self.partitions = stage.log.partitions(topics.EVENTS)
        self._stage = stage
        self._process = process
        self._owner: Owner | None = None
        self._readers: dict[str, tuple[tuple[str, ...], GroupReader]] = {}
        self._owned: dict[int, OwnedPartition] = {}
        self._running: dict[tuple[str, Place], asyncio.Task[None]] = {}
        self._failed: asyncio.Future[None] | None = None

    def own_events(self, owner: Owner) -> None:
        """Take part in the loop group: before `start`."""
        self._owner = owner

    def join(self, group: str, topics: Sequence[str], reader: GroupReader, *, gather_ms: int = 0) -> None:
        """Take part in another consumer group: before `start`."""
        self._readers[group] = (tuple(topics), reader)

    async def start(self) -> None:
        """Join the groups; what is granted is worked on in the background."""
        self._failed = asyncio.get_running_loop().create_future()
        self._join_all()
        self._spawn(self._beat())

    async def watch(self) -> None:
        """Wait as long as all is well; raises what made this process give its partitions up."""
        assert self._failed is not None, "start comes first"
        await asyncio.shield(self._failed)

    def stopped(self) -> Mapping[tuple[str, str, int], str]:
        """None: a process that finds its log cut ends here, and so does the one after it."""
        return {}

    async def go_on(self, partition: int, from_offset: int | None = None) -> WentOn:
        """Nobody says so in a simulation."""
        return WentOn(partition=partition)

    def lag(self) -> Mapping[tuple[str, str, int], int]:
        """Nobody in a simulation looks at it."""
        return {}

    async def stop(self) -> None:
        """Leave the groups after what was taken is committed."""
        for group, place in list(self._running):
            await self._let_go(group, place)
        self._stage.coordinator.leave(self._process)

    async def append(self, outputs: Sequence[Output]) -> Sequence[Position]:
        """Append records. Raises BackboneUnavailable: then all or none of them were."""
        return await self._stage.wire.call(self._process, "log.append", lambda: self._stage.log.append(outputs))

    async def commit(self, partition: int, commit: Commit) -> None:
        """Write a commit behind those that are on their way in its partition."""
        owned = self._owned.get(partition)
        if owned is None:
            raise BackboneUnavailable(f"partition {partition} is not owned by this process. Nothing was written.")
        owned.submit(commit)

    def _join_all(self) -> None:
        coordinator, now_us = self._stage.coordinator, self._stage.loop.now_us
        if self._owner is not None:
            coordinator.join(LOOP_GROUP, self._places((topics.EVENTS,)), self._process, now_us)
        for group, (of, _) in self._readers.items():
            coordinator.join(group, self._places(of), self._process, now_us)

    def _places(self, of: Sequence[str]) -> list[Place]:
        return [(topic, number) for topic in of for number in range(self.partitions)]

    async def _beat(self) -> None:
        while True:
            coordinator = self._stage.coordinator
            granted = coordinator.beat(self._process, self._stage.loop.now_us)
            if granted is None:
                for group, place in list(self._running):
                    await self._let_go(group, place)
                self._join_all()
                continue
            await self._follow(granted)
            await asyncio.sleep(BEAT_S)

    async def _follow(self, granted: Granted) -> None:
        wanted = {(group, place) for group, places in granted.items() for place in places}
        for group, place in [where for where in self._running if where not in wanted]:
            await self._let_go(group, place)
        for group, places in granted.items():
            for place in places:
                if (group, place) not in self._running:
                    self._running[group, place] = self._spawn(self._work(group, place))

    async def _let_go(self, group: str, place: Place) -> None:
        task = self._running.pop((group, place))
        if group == LOOP_GROUP:
            owned = self._owned.pop(place[1], None)
            if owned is not None:
                owned.stop()
                await asyncio.wait({task})
        task.cancel()
        await asyncio.wait({task})
        self._stage.coordinator.release(group, place, self._process)

    async def _work(self, group: str, place: Place) -> None:
        if group == LOOP_GROUP:
            assert self._owner is not None, "only who owns events is granted some"
            stage = self._stage
            owned = OwnedPartition(
                place[1],
                self._owner,
                process=self._process,
                log=stage.log,
                wire=stage.wire,
                order=stage.setting.order,
                batch_records=stage.setting.batch_records,
            )
            self._owned[place[1]] = owned
            await owned.run()
        else:
            await self._read(group, place, self._readers[group][1])

    async def _read(self, group: str, place: Place, reader: GroupReader) -> None:
        """Batches of one partition to a group's reader, at least once."""
        topic, partition = place
        offset = await self._call("log.offsets", lambda: self._stage.log.committed_offset(group, topic, partition) or 0)
        while True:
            batch = await self._fetch(place, offset)
            again = self._stage.wire.strikes(f"{group}.take")
            times = again.times if again is not None else 1
            if again is not None:
                self._stage.trace.fault("redelivery", repr(self._process), f"{topic}/{partition} {times} times")
            for _ in range(times):
                await self._taken(reader, topic, partition, batch)
            offset = batch[-1].offset + 1
            await self._kept(partial(self._commit, group, place, Committed(offset)))

    def _commit(self, group: str, place: Place, done: Committed) -> None:
        self._stage.coordinator.check_holder(group, place, self._process)
        self._stage.log.commit_offset(group, *place, done)

    async def _fetch(self, place: Place, offset: int) -> Sequence[Record]:
        log, setting = self._stage.log, self._stage.setting
        while True:
            grown = asyncio.Event()
            if log.bounds(*place)[1] <= offset:
                log.on_growth(*place, grown.set)
                await grown.wait()
            try:
                return await self._call("log.fetch", lambda: log.fetch(*place, offset, setting.batch_records))
            except TemporaryError:
                await asyncio.sleep(READER_PAUSE_S)

    async def _taken(self, reader: GroupReader, topic: str, partition: int, batch: Sequence[Record]) -> None:
        while True:
            try:
                return await reader.take(topic, partition, batch)
            except TemporaryError:
                await asyncio.sleep(READER_PAUSE_S)

    async def _kept(self, keep: Callable[[], None]) -> None:
        """Until the offset is taken; who dies before that is given the batch again."""
        while True:
            try:
                return await self._call("group.offset", keep)
            except TemporaryError:
                await asyncio.sleep(READER_PAUSE_S)

    async def _call(self, name: str, act: Callable[[], T]) -> T:
        return await self._stage.wire.call(self._process, name, act)

    def _spawn(self, running: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.create_task(running)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Task[None]") -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None and self._failed is not None and not self._failed.done():
            self._failed.set_exception(error)
