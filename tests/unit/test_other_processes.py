"""What a process knows of others: what their partitions follow, and what they append to the control topics."""

import asyncio
from collections.abc import Callable, Mapping, Sequence

import msgspec
import pytest
from msgspec.structs import replace

from control_plane.adapters.memory import MemoryLog, VirtualClock
from control_plane.adapters.system import SystemClock
from control_plane.bootstrap.elsewhere import Elsewhere
from control_plane.bootstrap.following import ControlFollower
from control_plane.errors import BackboneUnavailable, DataDamaged
from control_plane.messages import topics
from control_plane.partition.held import Mark
from control_plane.ports.backbone import Output, Position, Record
from control_plane.workspace.control_log import ControlLog, encode_item, encode_set
from tests import builders

PATIENCE_S = 20
SET = builders.control_set()


class Marks:
    """What owners have committed, as far as it can be seen."""

    def __init__(self) -> None:
        self.found: dict[int, str] = {}
        self.away = False
        self.looks = 0

    async def read(self) -> Mapping[int, bytes]:
        self.looks += 1
        if self.away:
            raise BackboneUnavailable("nobody answers")
        return {n: msgspec.json.encode(Mark("digest", revision)) for n, revision in self.found.items()}


async def append(outputs: Sequence[Output]) -> Sequence[Position]:
    return [Position(output.topic, 0, 0) for output in outputs]


async def until(holds: Callable[[], bool], *, timeout_s: float = PATIENCE_S) -> None:
    async with asyncio.timeout(timeout_s):
        while not holds():  # noqa: ASYNC110 - what is only looked at tells nobody
            await asyncio.sleep(0)


class TestElsewhere:
    async def test_nothing_comes_in_before_every_partition_follows_something(self) -> None:
        marks = Marks()
        elsewhere = Elsewhere(marks.read, append, partitions=2)
        running = asyncio.create_task(elsewhere.run(lambda: "r1", SystemClock()))
        try:
            marks.found = {0: "r1"}
            await until(lambda: elsewhere.revisions()[0] == "r1")
            assert elsewhere.why_not() == (
                "no loop has adopted controls in partition 1; start a worker with the role loop",
            )
            with pytest.raises(BackboneUnavailable, match="start a worker with the role loop"):
                await elsewhere.append([Output(topics.EVENTS, b"k", b"v")])

            marks.found = {0: "r1", 1: "r0"}
            await until(lambda: not elsewhere.why_not())
            assert len(await elsewhere.append([Output(topics.EVENTS, b"k", b"v")])) == 1
        finally:
            running.cancel()

    async def test_a_partition_that_is_being_moved_still_follows_what_it_followed(self) -> None:
        marks = Marks()
        marks.found = {0: "r1"}
        elsewhere = Elsewhere(marks.read, append, partitions=1)
        running = asyncio.create_task(elsewhere.run(lambda: "r2", SystemClock()))
        try:
            await until(lambda: elsewhere.revisions() == {0: "r1"})
            marks.found, looks = {}, marks.looks
            await until(lambda: marks.looks > looks + 1)
            assert elsewhere.revisions() == {0: "r1"}
        finally:
            running.cancel()

    async def test_a_log_that_is_away_is_looked_at_again(self) -> None:
        marks = Marks()
        marks.away, marks.found = True, {0: "r1"}
        clock = VirtualClock()
        elsewhere = Elsewhere(marks.read, append, partitions=1)
        running = asyncio.create_task(elsewhere.run(lambda: "r1", clock))
        try:
            await until(lambda: marks.looks == 1)
            marks.away = False
            await asyncio.sleep(0)
            clock.advance(1_000)
            await asyncio.sleep(0)
            clock.advance(50)
            await until(lambda: elsewhere.revisions() == {0: "r1"})
        finally:
            running.cancel()


class Tail:
    """News as a test has them come."""

    def __init__(self) -> None:
        self.news: asyncio.Queue[Sequence[Record] | Exception] = asyncio.Queue()
        self.closed = False

    async def next(self) -> Sequence[Record]:
        found = await self.news.get()
        if isinstance(found, Exception):
            raise found
        return found

    async def close(self) -> None:
        self.closed = True


def records() -> list[Record]:
    """A control set as another process has published it."""
    outputs = [*map(encode_item, SET.items), encode_set(SET)]
    return [
        Record(topic=out.topic, partition=0, offset=n, key=out.key, value=out.value, recorded_ms=0)
        for n, out in enumerate(outputs)
    ]


class TestFollowing:
    def follower(self) -> tuple[ControlFollower, ControlLog]:
        log = MemoryLog(VirtualClock().now_ms)
        controls = ControlLog.from_reader(log, builders.TOOLS)
        return ControlFollower(log, controls), controls

    async def test_news_are_heard_while_what_follows_from_them_takes_its_time(self) -> None:
        follower, controls = self.follower()
        tail, heeding, go_on = Tail(), asyncio.Event(), asyncio.Event()

        async def heed() -> None:
            heeding.set()
            await go_on.wait()

        running = asyncio.create_task(follower.run(tail, SystemClock(), heed))
        try:
            *items, the_set = records()
            await tail.news.put(items)
            await asyncio.wait_for(heeding.wait(), PATIENCE_S)
            await tail.news.put([the_set])
            await until(lambda: controls.wanted == SET.revision)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        assert tail.closed

    async def test_a_log_that_is_away_is_followed_again(self) -> None:
        follower, controls = self.follower()
        tail = Tail()

        async def heed() -> None:
            """Nothing follows."""

        running = asyncio.create_task(follower.run(tail, SystemClock(), heed))
        try:
            await tail.news.put(BackboneUnavailable("nobody answers"))
            await tail.news.put(records())
            await until(lambda: controls.wanted == SET.revision)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    async def test_a_record_that_is_not_what_its_key_says_ends_the_process(self) -> None:
        follower, _ = self.follower()
        tail = Tail()
        first = records()[0]

        async def heed() -> None:
            """Nothing follows."""

        await tail.news.put([replace(first, key=b"intent/other@0")])

        with pytest.raises(DataDamaged):
            await asyncio.wait_for(follower.run(tail, SystemClock(), heed), PATIENCE_S)

    def test_items_that_are_published_while_a_start_reads_are_read_with_their_set(self) -> None:
        """A set that is read names items that were appended before it: so they are read after it."""
        log = MemoryLog(VirtualClock().now_ms)

        class Publishing:
            """Another process publishes between two topics of our reading."""

            def partitions(self, topic: str) -> int:
                return log.partitions(topic)

            def read(self, topic: str, partition: int, offset: int = 0) -> Sequence[Record]:
                if topic != topics.CONTROL_SETS and not log.bounds(topics.CONTROL_SETS, 0)[1]:
                    log.append([*map(encode_item, SET.items), encode_set(SET)])
                return list(log.read(topic, partition, offset))

        found = ControlLog.from_reader(Publishing(), builders.TOOLS)  # type: ignore[arg-type]

        assert found.wanted is None, "it was not there yet when sets were read"
        assert all(found.holds_item(item) for item in SET.items)
