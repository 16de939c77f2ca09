"""Time as events: at the moments of a cron expression in a time zone, or at a fixed pace. Kind `timer`.

A moment is one event, by its scheduled time: it has the same id whoever strikes it and however often. What was last
struck is kept after the event is safe.
"""

from datetime import UTC
from typing import Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Meta

from control_plane.catalogue.definitions import Duration
from control_plane.durations import parse_duration_ms
from control_plane.messages.wire import utc
from control_plane.triggers.formats import Format
from control_plane.triggers.mapping import EventKeys, EventMapping, examine_event
from control_plane.triggers.patience import until_done
from control_plane.triggers.schedule import Cron, Every, Schedule, ScheduleInvalid, zone_of
from control_plane.triggers.sorting import Arrived, Place, Sorted, Sorter
from control_plane.triggers.tools import Declared, Keys, TriggerTools
from control_plane.workspace.examined import Examined, Problem

SLEEP_S_MAX: Final = 10.0
"""The longest sleep: after it the clock is looked at again, which may have been set or have stood still."""
POSITION: Final = "struck"

CronText = Annotated[str, Meta(min_length=9, max_length=200, description='a cron expression, as in "*/5 * * * *".')]
ZoneName = Annotated[str, Meta(min_length=1, max_length=64, description="a time zone, as in Europe/Berlin.")]


class TimerKeys(Keys, frozen=True):
    """What `triggers/*.yaml` says of this kind: `cron` or `every`. `missed` says what becomes of moments that went by
    while nothing ran: `one` strikes the newest of them at the start, `skip` none."""

    cron: CronText | None = None
    every: Duration | None = None
    timezone: ZoneName = "UTC"
    missed: Literal["one", "skip"] = "one"
    event: EventKeys = EventKeys()


def _moment(item: Any) -> dict[str, Any]:
    return dict(item)


FORMAT: Final = Format(
    item=_moment,
    reads=frozenset({"scheduled_at", "local_at"}),
    occurred_at="scheduled_at",
    whole=None,
    data={"scheduled_at": "scheduled_at"},
)


def examine_timer(keys: TimerKeys) -> Examined:
    """What is wrong in a definition whose shape is right, and what it reads."""
    said = examine_event(keys.event, FORMAT, FORMAT.reads)
    return Examined(problems=said.problems + _schedule_problems(keys), formulas=said.formulas, types=said.types)


def _schedule_problems(keys: TimerKeys) -> tuple[Problem, ...]:
    if (keys.cron is None) == (keys.every is None):
        says = "nothing of when it strikes" if keys.cron is None else "cron and every"
        return (Problem(path=(), problem=f"the timer says {says}", cure="Write cron, or every: one of them."),)
    try:
        zone = zone_of(keys.timezone)
    except ScheduleInvalid as wrong:
        return (Problem(path=("timezone",), problem=str(wrong), cure="Write it as Europe/Berlin, or UTC."),)
    try:
        schedule = _schedule(keys, zone)
    except ScheduleInvalid as wrong:
        key = "cron" if keys.cron is not None else "every"
        cure = 'Write minute, hour, day, month and weekday: "*/5 * * * *".' if key == "cron" else "Write a longer one."
        return (Problem(path=(key,), problem=str(wrong), cure=cure),)
    if schedule.after(0) is None:
        return (Problem(path=("cron",), problem=f"cron {keys.cron!r} never strikes", cure="Write a day that exists."),)
    return ()


def _schedule(keys: TimerKeys, zone: ZoneInfo) -> Schedule:
    if keys.every is not None:
        return Every(parse_duration_ms(keys.every))
    assert keys.cron is not None, "the shape was checked: cron or every"
    return Cron(keys.cron, zone)


class Timer:
    """One timer."""

    def __init__(self, declared: Declared, keys: TimerKeys, tools: TriggerTools) -> None:
        self.name = declared.name
        self._tools = tools
        self._clock = tools.clock
        self._skips_missed = keys.missed == "skip"
        try:
            self._zone = zone_of(keys.timezone)
            self._schedule = _schedule(keys, self._zone)
        except ScheduleInvalid as wrong:
            raise declared.wrong(str(wrong), "Run setpoint check.") from wrong
        mapping = EventMapping(declared, keys.event, FORMAT, tools.expressions)
        self._sorter = Sorter(declared, FORMAT, mapping, tools)

    async def run(self) -> None:
        """Strike until cancelled. Raises StorageFull, or what else no waiting can mend."""
        started_ms = self._clock.now_ms()
        struck_ms = await self._begun(started_ms)
        while (due_ms := self._schedule.after(struck_ms)) is not None:
            now_ms = self._clock.now_ms()
            if due_ms > now_ms:
                await self._clock.sleep(min((due_ms - now_ms) / 1000, SLEEP_S_MAX))
                continue
            # Of several that are due only the newest: a timer says that it is time, and not how often it was.
            struck_ms = self._schedule.newest(now_ms, struck_ms) or due_ms
            if struck_ms >= started_ms or not self._skips_missed:
                await self._strike(struck_ms)
            await self._keep(struck_ms)

    async def _begun(self, now_ms: int) -> int:
        """The last moment that was struck. A timer that never ran begins now, and that is kept: what goes by from here
        on is missed."""
        kept = await until_done(lambda: self._tools.positions.read(self.name), trigger=self.name, clock=self._clock)
        struck_ms = kept.get(POSITION)
        if isinstance(struck_ms, int):
            return struck_ms
        await self._keep(now_ms)
        return now_ms

    async def _strike(self, moment_ms: int) -> None:
        scheduled_at = _text(moment_ms)
        local_at = utc(moment_ms).astimezone(self._zone).isoformat()
        into = Sorted()
        place = Place(words=f"the moment {scheduled_at}", identity=scheduled_at, offset=moment_ms)
        value = {"scheduled_at": scheduled_at, "local_at": local_at}
        self._sorter.sort(Arrived(raw=msgspec.json.encode(value), value=value, place=place), into)
        await until_done(lambda: self._sorter.bring_in(into), trigger=self.name, clock=self._clock)

    async def _keep(self, moment_ms: int) -> None:
        written = {POSITION: moment_ms}
        await until_done(lambda: self._tools.positions.write(self.name, written), trigger=self.name, clock=self._clock)


def _text(ms: int) -> str:
    return utc(ms).astimezone(UTC).isoformat(timespec="milliseconds").replace(".000+00:00", "Z").replace("+00:00", "Z")
