"""Timers under a clock that is moved: each moment once, through restarts, gaps and changes of the clock."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from control_plane.adapters.memory import MemoryPositions, VirtualClock
from control_plane.errors import BackboneUnavailable, PositionsUnavailable, StorageFull
from control_plane.messages.wire import ms_of, utc
from control_plane.ports.positions import Positions
from control_plane.triggers import Trigger, build_trigger
from control_plane.triggers.schedule import Cron, Every, Schedule, ScheduleInvalid, zone_of
from tests.unit.triggers_world import World, running, settle

MINUTE_MS = 60_000
EVENT = {"type": "clock.struck", "subject": '"system/nightly"'}


def a_timer(world: World, **keys: Any) -> Trigger:
    return build_trigger({"name": "nightly", "kind": "timer", "event": EVENT, **keys}, world.tools)


async def pass_time(world: World, by_ms: int, step_ms: int = 1_000) -> None:
    """Let time pass in steps, and everything happen that follows from each."""
    for _ in range(by_ms // step_ms):
        world.clock.advance(step_ms)
        await settle()


async def test_a_timer_strikes_at_its_moments_and_at_no_other_time() -> None:
    world = World()
    async with running(a_timer(world, every="30s")):
        await settle()
        await pass_time(world, 29_000)
        assert world.events == []

        await pass_time(world, 61_000)

    assert world.ids == ["2026-01-01T00:00:30Z", "2026-01-01T00:01:00Z", "2026-01-01T00:01:30Z"]
    event = world.events[0]
    assert (event.type, event.subject, event.lineage.source) == ("clock.struck", "system/nightly", "trigger/nightly")
    assert event.data == {"scheduled_at": "2026-01-01T00:00:30Z"}
    assert ms_of(event.occurred_at) == ms_of(datetime(2026, 1, 1, 0, 0, 30, tzinfo=UTC))


async def test_a_cron_timer_strikes_by_the_clock_of_its_time_zone() -> None:
    world = World()
    event = EVENT | {"data": {"here": "local_at"}}
    async with running(a_timer(world, cron="30 6 * * *", timezone="Europe/Berlin", event=event)):
        await settle()
        await pass_time(world, 6 * 60 * MINUTE_MS, step_ms=5_000)

    [event] = world.events
    assert event.data == {"scheduled_at": "2026-01-01T05:30:00Z", "here": "2026-01-01T06:30:00+01:00"}


async def test_a_restart_neither_loses_nor_repeats_a_moment() -> None:
    world = World()
    for _ in range(5):
        async with running(a_timer(world, every="10s")):
            await settle()
            await pass_time(world, 25_000)

    assert world.ids == [f"2026-01-01T00:0{s // 60}:{s % 60:02}Z" for s in range(10, 121, 10)]


async def test_of_the_moments_that_were_missed_the_newest_is_struck_once() -> None:
    world = World()
    async with running(a_timer(world, every="10s")):
        await settle()
        await pass_time(world, 10_000)
    world.clock.advance(3_600_000 + 4_000)

    for _ in range(2):
        async with running(a_timer(world, every="10s")):
            await settle()

    assert world.ids == ["2026-01-01T00:00:10Z", "2026-01-01T01:00:10Z"]


async def test_missed_moments_are_left_out_where_the_definition_says_so() -> None:
    world = World()
    async with running(a_timer(world, every="10s", missed="skip")):
        await settle()
        await pass_time(world, 10_000)
    world.clock.advance(3_600_000 + 4_000)

    async with running(a_timer(world, every="10s", missed="skip")):
        await settle()
        await pass_time(world, 6_000)

    assert world.ids == ["2026-01-01T00:00:10Z", "2026-01-01T01:00:20Z"]


async def test_a_moment_that_went_by_before_the_first_was_ever_struck_is_missed_too() -> None:
    world = World()
    async with running(a_timer(world, cron="0 3 * * *")):
        await settle()
    world.clock.advance(5 * 60 * MINUTE_MS)

    async with running(a_timer(world, cron="0 3 * * *")):
        await settle()

    assert world.ids == ["2026-01-01T03:00:00Z"]


async def test_a_new_timer_does_not_strike_for_the_past() -> None:
    world = World(clock=VirtualClock(ms_of(datetime(2026, 1, 1, 3, 0, 1, tzinfo=UTC))))
    async with running(a_timer(world, cron="0 3 * * *")):
        await settle()

    assert world.events == []


class DiesAfter(MemoryPositions):
    """Positions of a process that dies before its n-th write."""

    def __init__(self, writes: int) -> None:
        super().__init__()
        self.writes_left = writes

    async def write(self, trigger: str, positions: Any) -> None:
        if self.writes_left <= 0:
            raise StorageFull("The process dies here.")
        self.writes_left -= 1
        await super().write(trigger, positions)


async def test_a_crash_between_the_event_and_its_position_repeats_the_same_event() -> None:
    world = World(positions=DiesAfter(1))
    async with running(a_timer(world, every="10s")) as task:
        await settle()
        await pass_time(world, 10_000)
        assert isinstance(task.exception(), StorageFull)

    assert isinstance(world.positions, DiesAfter)
    world.positions.writes_left = 100
    world.clock.advance(2_000)
    async with running(a_timer(world, every="10s")):
        await settle()

    first, again = world.outputs
    assert first == again


async def test_a_log_or_a_store_that_is_away_is_waited_for() -> None:
    world = World(append_raises=[BackboneUnavailable("away")] * 2, positions=_AwayAtFirst())
    async with running(a_timer(world, every="10s")):
        await settle()
        await pass_time(world, 30_000, step_ms=500)

    assert world.ids[:2] == ["2026-01-01T00:00:10Z", "2026-01-01T00:00:20Z"]


class _AwayAtFirst(MemoryPositions):
    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def _answer(self) -> None:
        self.calls += 1
        if self.calls in (1, 3, 5):
            raise PositionsUnavailable("away")


async def test_a_full_disk_ends_the_trigger() -> None:
    world = World(append_raises=[StorageFull("full")])
    async with running(a_timer(world, every="10s")) as task:
        await settle()
        await pass_time(world, 10_000)
        assert isinstance(task.exception(), StorageFull)


async def test_a_moment_that_cannot_be_an_event_is_a_dead_letter_and_the_next_one_follows() -> None:
    world = World()
    async with running(a_timer(world, every="10s", event=EVENT | {"type": "nobody.knows"})):
        await settle()
        await pass_time(world, 20_000)

    assert [letter.code for letter in world.letters] == ["type_unknown", "type_unknown"]
    assert world.letters[0].detail.startswith("the moment 2026-01-01T00:00:10Z: ")


async def test_a_clock_that_is_set_back_does_not_strike_twice() -> None:
    world = World()
    positions: Positions = world.positions
    await positions.write("nightly", {"struck": world.clock.now_ms() + 60_000})

    async with running(a_timer(world, every="10s")):
        await settle()
        await pass_time(world, 60_000)
        assert world.events == []
        await pass_time(world, 10_000)

    assert world.ids == ["2026-01-01T00:01:10Z"]


# Schedules


def local(schedule: Schedule, zone: str, day: tuple[int, int, int], hours: int = 5) -> list[str]:
    """The moments of the first hours of a day, as that zone's clocks show them."""
    at_ms = ms_of(datetime(*day, tzinfo=ZoneInfo(zone)).astimezone(UTC))
    end_ms, found = at_ms + hours * 60 * MINUTE_MS, []
    moment = schedule.after(at_ms - 1)
    while moment is not None and moment <= end_ms:
        found.append(utc(moment).astimezone(ZoneInfo(zone)).strftime("%H:%M%z")[:-2])
        moment = schedule.after(moment)
    return found


SPRING, AUTUMN = (2026, 3, 29), (2026, 10, 25)


@pytest.mark.parametrize(
    ("cron", "day", "moments"),
    [
        ("30 2 * * *", SPRING, ["03:00+02"]),
        ("30 2 * * *", AUTUMN, ["02:30+02"]),
        ("0 * * * *", SPRING, ["00:00+01", "01:00+01", "03:00+02", "04:00+02", "05:00+02", "06:00+02"]),
        ("0 * * * *", AUTUMN, ["00:00+02", "01:00+02", "02:00+02", "02:00+01", "03:00+01", "04:00+01"]),
        ("15 1,2,3 * * *", SPRING, ["01:15+01", "03:00+02", "03:15+02"]),
        ("15 1,2,3 * * *", AUTUMN, ["01:15+02", "02:15+02", "03:15+01"]),
    ],
)
def test_when_the_clocks_change_a_time_of_day_strikes_once_and_a_pace_is_kept(
    cron: str, day: tuple[int, int, int], moments: list[str]
) -> None:
    assert local(Cron(cron, zone_of("Europe/Berlin")), "Europe/Berlin", day) == moments


ZONES = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "UTC"]
CRONS = [
    "*/5 * * * *",
    "30 2 * * *",
    "15 1,2,3 * * *",
    "*/17 1-3 * * *",
    "30 */2 * * *",
    "*/10 * * * * *",
    "5 2 * * SUN",
]


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("cron", CRONS)
def test_the_moments_are_the_same_from_wherever_they_are_asked_for(cron: str, zone: str) -> None:
    """Around every change of these clocks in 2026: what a restart finds is what a run would have struck."""
    chance = random.Random(f"{cron} {zone}")
    schedule = Cron(cron, zone_of(zone))
    for day in ((2026, 3, 7), (2026, 3, 28), (2026, 4, 4), (2026, 10, 3), (2026, 10, 24), (2026, 10, 31)):
        begin_ms = ms_of(datetime(*day, tzinfo=UTC))
        end_ms = begin_ms + int(timedelta(days=2) / timedelta(milliseconds=1))
        moments = [begin_ms]
        while (moment := schedule.after(moments[-1])) is not None and moment <= end_ms:
            moments.append(moment)
        del moments[0]
        for _ in range(5):
            at_ms = chance.randrange(begin_ms, end_ms)
            before = [moment for moment in moments if moment <= at_ms]
            assert schedule.newest(at_ms, begin_ms) == (before[-1] if before else None)
            if len(before) < len(moments):
                assert schedule.after(at_ms) == moments[len(before)]


def test_the_newest_moment_is_found_however_long_ago_it_was() -> None:
    leap_day = Cron("0 12 29 2 *", zone_of("UTC"))
    now_ms = ms_of(datetime(2027, 6, 1, tzinfo=UTC))

    assert leap_day.newest(now_ms, 0) == ms_of(datetime(2024, 2, 29, 12, tzinfo=UTC))
    assert leap_day.newest(now_ms, ms_of(datetime(2025, 1, 1, tzinfo=UTC))) is None
    assert Every(30_000).newest(59_999, 30_000) is None


@pytest.mark.parametrize("cron", ["", "* * * *", "61 * * * *", "* * 31 2 *", "a b c d e", "@daily", "* * * * * * *"])
def test_what_is_no_cron_expression_is_refused(cron: str) -> None:
    with pytest.raises(ScheduleInvalid, match="is no schedule"):
        Cron(cron, zone_of("UTC"))


@pytest.mark.parametrize("name", ["Europe/Berlinn", "../etc/passwd", "", "/etc/localtime"])
def test_what_is_no_time_zone_is_refused(name: str) -> None:
    with pytest.raises(ScheduleInvalid, match="no time zone"):
        zone_of(name)
