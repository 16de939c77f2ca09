"""When a timer strikes: by a cron expression in a time zone, or at a fixed pace. Pure: the time is given in.

Cron follows Debian's at changes of the clock: a time of day that is skipped strikes at the first moment after the gap,
one that comes twice strikes once; what repeats within the hour keeps its pace through both.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from control_plane.messages.wire import ms_of, utc

PERIOD_MS_MIN: Final = 100
LOOK_BACK: Final = tuple(timedelta(seconds=s) for s in (60, 3_600, 86_400, 32 * 86_400, 367 * 86_400, 9 * 366 * 86_400))
"""How far back the newest time is looked for, step by step: a leap day may be eight years off."""


class ScheduleInvalid(Exception):
    """The text is no schedule."""


class Schedule(Protocol):
    """Moments in milliseconds since the epoch; the same ones whenever they are asked for."""

    def after(self, ms: int) -> int | None:
        """The first moment later than this one; None when there is none any more."""

    def newest(self, ms: int, since_ms: int) -> int | None:
        """The last moment that is later than `since_ms` and not later than `ms`."""


class Every:
    """At a fixed pace, counted from the epoch: whoever starts when, the moments are the same."""

    def __init__(self, period_ms: int) -> None:
        if period_ms < PERIOD_MS_MIN:
            raise ScheduleInvalid(f"every is shorter than {PERIOD_MS_MIN} ms")
        self._period_ms = period_ms

    def after(self, ms: int) -> int | None:
        """The first moment later than this one."""
        return (ms // self._period_ms + 1) * self._period_ms

    def newest(self, ms: int, since_ms: int) -> int | None:
        """The last moment within."""
        found = ms // self._period_ms * self._period_ms
        return found if found > since_ms else None


class Cron:
    """Five fields, or six with seconds in front, in a time zone."""

    def __init__(self, text: str, zone: ZoneInfo) -> None:
        self._text = text
        self._zone = zone
        try:
            CronSim(text, datetime(2026, 1, 1, tzinfo=UTC))
        except CronSimError as wrong:
            raise ScheduleInvalid(f"cron {text!r} is no schedule: {str(wrong).lower()}") from wrong

    def after(self, ms: int) -> int | None:
        """The first moment later than this one."""
        return next(self._from(ms), None)

    def newest(self, ms: int, since_ms: int) -> int | None:
        """The last moment within: looked for near `ms` first, for it may be years since the last one."""
        for back in LOOK_BACK:
            begin_ms = max(since_ms, ms - int(back / timedelta(milliseconds=1)))
            found = None
            for moment in self._from(begin_ms):
                if moment > ms:
                    break
                found = moment
            if found is not None or begin_ms == since_ms:
                return found
        return None

    def _from(self, ms: int) -> Iterator[int]:
        """Moments later than this one. Where the clock is set back the library begins with one that is not."""
        begin = utc(ms).astimezone(self._zone)
        last = ms
        for moment in CronSim(self._text, begin):
            found = ms_of(moment.astimezone(UTC))
            if found > last:
                yield found
                last = found


def zone_of(name: str) -> ZoneInfo:
    """A time zone by its name. Raises ScheduleInvalid."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as wrong:
        raise ScheduleInvalid(f"there is no time zone {name!r}") from wrong
