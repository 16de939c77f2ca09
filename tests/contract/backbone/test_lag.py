"""How far each group is behind is known, and commits that no longer advance do not go unnoticed."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from control_plane.adapters.faust.lag import LagWatch, Place
from control_plane.errors import BackboneUnavailable
from control_plane.messages.topics import DECISIONS, EVENTS
from control_plane.ports.backbone import Output
from tests.contract.backbone.owners import CountingOwner, KeepingReader
from tests.contract.backbone.world import PARTITIONS, World


def record(partition: int = 0, count: int = 1) -> list[Output]:
    return [Output(EVENTS, b"k", b"v", partition)] * count


@pytest.fixture(autouse=True)
def look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("control_plane.adapters.faust.lag.LOOK_EVERY_S", 0.05)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 - nobody tells when a metric would change
            await asyncio.sleep(0.01)


async def test_the_lag_of_each_group_is_what_it_has_not_committed(world: World) -> None:
    owner, reader = CountingOwner(), KeepingReader()
    owner.gate.clear()
    reader.gate.clear()
    async with world.running(owner, groups={"recorder": ((EVENTS, DECISIONS), reader)}) as backbone:
        await owner.until(lambda: len(owner.starts) == PARTITIONS)
        reader.gate.set()
        await until(lambda: len(backbone.lag()) == 3 * PARTITIONS and set(backbone.lag().values()) == {0})
        reader.gate.clear()

        await backbone.append([*record(0, 7), *record(1, 2)])
        await until(lambda: sum(backbone.lag().values()) == 18)
        assert backbone.lag() == {
            ("loop", EVENTS, 0): 7,
            ("loop", EVENTS, 1): 2,
            ("recorder", EVENTS, 0): 7,
            ("recorder", EVENTS, 1): 2,
            ("recorder", DECISIONS, 0): 0,
            ("recorder", DECISIONS, 1): 0,
        }

        owner.gate.set()
        await until(lambda: backbone.lag()["loop", EVENTS, 0] == 0)
        assert backbone.lag()["recorder", EVENTS, 0] == 7
        reader.gate.set()
        await until(lambda: set(backbone.lag().values()) == {0})

    assert backbone.lag() == {}


async def test_a_group_that_goes_on_elsewhere_begins_with_the_lag_that_it_left(world: World) -> None:
    reader = KeepingReader()
    async with world.running(groups={"recorder": ((EVENTS,), reader)}) as backbone:
        await backbone.append(record(count=4))
        await reader.until(lambda: len(reader.taken) == 4)
    async with world.running() as backbone:
        await backbone.append(record(count=3))

    again = KeepingReader()
    again.gate.clear()
    async with world.running(groups={"recorder": ((EVENTS,), again)}) as backbone:
        await until(lambda: backbone.lag().get(("recorder", EVENTS, 0)) == 3)
        again.gate.set()


@pytest.mark.kafka
async def test_a_process_whose_commits_stand_still_leaves(kafka_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after Faust's recovery race: records come and are taken, and the commit never comes back."""
    monkeypatch.setattr("control_plane.adapters.faust.lag.COMMITS_STALLED_MAX_S", 0.5)
    owner, backbone = CountingOwner(), kafka_world.backbone()
    backbone.own_events(owner)
    await backbone.start()
    try:
        await owner.until(lambda: len(owner.starts) == PARTITIONS)

        async def never(offsets: Mapping[Any, Any]) -> None:
            await asyncio.Event().wait()

        backbone._apps[0].consumer.commit_marks = never
        await backbone.append(record())
        with pytest.raises(BackboneUnavailable, match=r"offset of events.v1/\d .* has stood at \d for 0.5 s"):
            await asyncio.wait_for(backbone.watch(), 10)
    finally:
        await backbone.stop()
    assert owner.readers == {}


async def test_a_process_that_is_no_longer_given_records_leaves(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("control_plane.adapters.faust.lag.COMMITS_STALLED_MAX_S", 0.5)
    reader, backbone = KeepingReader(), world.backbone()
    backbone.join("recorder", (EVENTS,), reader)
    await backbone.start()
    try:
        await until(lambda: len(backbone.lag()) == PARTITIONS)

        async def nothing(tps: set[Any]) -> Mapping[Any, Any]:
            await asyncio.sleep(0.01)
            return {}

        backbone._apps[0].consumer.fetch = nothing
        backbone._apps[0].consumer.wake()
        await backbone.append(record(count=1_000))
        await backbone.append(record(count=1_000))
        with pytest.raises(BackboneUnavailable, match="of group recorder"):
            await asyncio.wait_for(backbone.watch(), 10)
    finally:
        await backbone.stop()


class Lane:
    """As much of a lane as the watch looks at."""

    def __init__(self) -> None:
        self.committed = self.noted = 0
        self.taking = False


class Clock:
    """Time that passes when it is told to."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Watched:
    """A watch over one lane, and what it complained of."""

    def __init__(self) -> None:
        self.lane, self.clock, self.end = Lane(), Clock(), 0
        self.failures: list[BaseException] = []
        self.watch = LagWatch(clock=self.clock, failed=self.failures.append, stalled_max_s=120.0)

    def after(self, seconds: float, *, end: int | None = None, answers: bool = True) -> "Watched":
        self.clock.now_s += seconds
        self.end = self.end if end is None else end
        place = Place("loop", EVENTS, 0)
        self.watch.look({place: (self.lane, self.end if answers else None)})  # type: ignore[dict-item]
        return self


def test_a_group_that_is_up_to_date_may_be_so_for_ever() -> None:
    watched = Watched()

    watched.after(0).after(1_000).after(1_000)

    assert watched.failures == []


def test_commits_that_advance_by_one_record_are_enough() -> None:
    watched = Watched().after(0, end=100)

    for number in range(10):
        watched.lane.committed = number
        watched.after(110)

    assert watched.failures == []


def test_what_stands_behind_a_busy_reader_is_its_affair_and_is_only_said(caplog: pytest.LogCaptureFixture) -> None:
    watched = Watched().after(0, end=10)
    watched.lane.taking = True

    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            watched.after(100)

    assert watched.failures == []
    assert [record.message for record in caplog.records] == ["a reader has had its batch for long"]


def test_a_commit_that_was_asked_for_and_does_not_come_is_fatal_even_while_the_reader_is_busy() -> None:
    watched = Watched().after(0, end=10)
    watched.lane.taking, watched.lane.noted = True, 5

    watched.after(119)
    assert watched.failures == []
    watched.after(2)

    assert [type(failure) for failure in watched.failures] == [BackboneUnavailable]


def test_records_that_do_not_come_are_fatal() -> None:
    watched = Watched().after(0, end=10).after(121)

    assert str(watched.failures[0]) == (
        "the committed offset of events.v1/0 of group loop has stood at 0 for 120 s, and the log goes on to 10. This "
        "process gave its partitions up; what was not committed comes again. Start it again; if it comes back, "
        "look at the brokers."
    )


def test_while_the_log_does_not_answer_nobody_is_to_blame() -> None:
    watched = Watched().after(0, end=10)

    for _ in range(10):
        watched.after(100, answers=False)
    watched.after(119)

    assert watched.failures == []
