"""What a rule should do, worked out in the plainest way: it walks through every millisecond, remembers every event, and
counts them all anew whenever it is asked. It knows nothing of timers, rows and buckets that are kept.
"""

import math
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

from agents.rules.counting import BUCKETS_PER_WINDOW
from agents.rules.phases import LOOK_MS_MIN, LOOKS_PER_WAIT

Phase = Literal["inactive", "pending", "firing"]


@dataclass(frozen=True)
class Settings:
    """A rule's keys; durations in milliseconds, 0 where a key is not there."""

    count: tuple[int, int] | None = None
    above: tuple[float, int, int] | None = None
    below: tuple[float, int, int] | None = None
    absent_ms: int = 0
    for_ms: int = 0
    once_ms: int = 0
    keep_ms: int = 0
    repeat_ms: int | None = None
    fresh_ms: int = 60_000

    @property
    def quiet_ms(self) -> int:
        return self.absent_ms or (self.below[2] if self.below else 0)


@dataclass(frozen=True)
class Happening:
    """An event with its number or, without `matches`, a tick. `heard_ms` is when the source was last heard."""

    at_ms: int
    matches: bool | None = None
    occurred_ms: int = 0
    heard_ms: int = 0
    number: int = 0


@dataclass
class Model:
    settings: Settings
    state: Phase = "inactive"
    proposals: list[int] = field(default_factory=list)
    """When it proposed, with a number for each happening."""
    _events: list[Happening] = field(default_factory=list)
    _since_ms: int = 0
    _kept_until_ms: int | None = None
    _proposed_ms: int | None = None
    _owed: bool = False
    _look_ms: int = 0
    _watched_ms: int = 0
    _passed_ms: int = -1

    def take(self, number: int, happening: Happening) -> None:
        """One more happening; time passes first."""
        for now_ms in range(self._passed_ms + 1, happening.at_ms + 1):
            self._pass(now_ms)
        self._passed_ms = happening.at_ms
        before = self._last_match_ms()
        if happening.matches is not None:
            self._watch(happening)
            self._events.append(happening)
        if self.settings.quiet_ms:
            self._take_silence(number, happening)
        else:
            self._take_event(number, happening, before)

    def state_at(self, now_ms: int) -> Phase:
        """What the rule is at a time after the last happening."""
        for passed_ms in range(self._passed_ms + 1, now_ms + 1):
            self._pass(passed_ms)
        self._passed_ms = max(self._passed_ms, now_ms)
        return self.state

    # What holds.

    def holds(self, now_ms: int) -> bool:
        settings = self.settings
        if settings.count:
            least, window_ms = settings.count
            return self._counted(window_ms, 1, now_ms) >= least
        if settings.above:
            return self._counted(settings.above[2], self._width(settings.above[2]), now_ms) > _allowed(settings.above)
        if settings.below:
            window_ms = settings.below[2]
            watched = bool(self._matches()) and now_ms - self._watched_ms >= window_ms
            return watched and self._counted(window_ms, self._width(window_ms), now_ms) < _allowed(settings.below)
        if settings.absent_ms:
            last_ms = self._last_match_ms()
            return last_ms is not None and now_ms - last_ms >= settings.absent_ms
        return bool(self._events) and self._events[-1].matches is True

    def _counted(self, window_ms: int, width_ms: int, now_ms: int) -> int:
        """Matches in (t - window, t], as far back as no gap of a whole window lies between two that were heard."""
        run: list[Happening] = []
        for found in self._matches():
            if run and found.at_ms - run[-1].at_ms >= window_ms:
                run = []
            run.append(found)
        if not run or now_ms - run[-1].at_ms >= window_ms:
            return 0
        t_ms = max(found.occurred_ms for found in run) + now_ms - run[-1].at_ms
        edge_ms = t_ms - t_ms % width_ms - window_ms
        return sum(found.occurred_ms - found.occurred_ms % width_ms > edge_ms for found in run)

    def _width(self, window_ms: int) -> int:
        return math.ceil(window_ms / BUCKETS_PER_WINDOW)

    def _matches(self) -> list[Happening]:
        return [found for found in self._events if found.matches]

    def _last_match_ms(self) -> int | None:
        return max((found.at_ms for found in self._matches()), default=None)

    def _watch(self, happening: Happening) -> None:
        """A rate from below counts once it was watched for a whole window, and anew after one of silence."""
        last_ms = self._last_match_ms()
        if self.settings.below and happening.matches:
            silent = last_ms is not None and happening.at_ms - last_ms >= self.settings.below[2]
            if last_ms is None or (silent and not self._going):
                self._watched_ms = happening.at_ms

    # What it does.

    @property
    def _going(self) -> bool:
        return self.state != "inactive" and self._kept_until_ms is None

    def _pass(self, now_ms: int) -> None:
        """Nothing happens for a millisecond."""
        if self._going and not self.settings.quiet_ms and not self.holds(now_ms):
            self._stop(now_ms, now_ms)
        if self._kept_until_ms is not None and self._kept_until_ms <= now_ms:
            self._rest()
        proposed_ms = self._proposed_ms if self.state == "inactive" else None
        if proposed_ms is not None and now_ms - proposed_ms >= self.settings.once_ms:
            self._proposed_ms = None

    def _take_event(self, number: int, happening: Happening, last_match_ms: int | None) -> None:
        now_ms, by_tick = happening.at_ms, happening.matches is None
        if not self.holds(now_ms):
            if self._going:
                plain = not (self.settings.count or self.settings.above)
                self._stop(last_match_ms if plain and last_match_ms is not None else now_ms, now_ms)
            return
        self._kept_until_ms = None
        if self.state == "inactive":
            self.state, self._since_ms = "pending", now_ms
        starts = self.state == "pending" and now_ms - self._since_ms >= self.settings.for_ms
        if starts and by_tick and not (self.settings.count or self.settings.above):
            last_ms = self._last_match_ms()
            assert last_ms is not None
            starts = self.settings.for_ms <= now_ms - last_ms <= self.settings.fresh_ms
        if starts:
            self.state, self._owed = "firing", True
        if self.state == "firing" and (starts or happening.matches):
            self._speak(number, now_ms)

    def _take_silence(self, number: int, happening: Happening) -> None:
        now_ms, holds = happening.at_ms, self.holds(happening.at_ms)
        if happening.matches is not None:
            if not holds:
                self._look_ms = 0
                if self._going:
                    self._stop(now_ms, now_ms)
            return
        if not holds or now_ms < self._look_ms or not self._asks(now_ms):
            return
        if happening.heard_ms < now_ms - self.settings.quiet_ms // 2:
            repeats = self.state == "firing" and self._going and not self._owed
            waited_ms = (self.settings.repeat_ms or 0) if repeats else self.settings.quiet_ms
            self._look_ms = now_ms + max(LOOK_MS_MIN, waited_ms // LOOKS_PER_WAIT)
            return
        self._look_ms = 0
        self._kept_until_ms = None
        if self.state == "inactive":
            self.state, self._since_ms = "pending", now_ms
        if self.state == "pending" and now_ms - self._since_ms >= self.settings.for_ms:
            self.state, self._owed = "firing", True
        if self.state == "firing":
            self._speak(number, now_ms)

    def _asks(self, now_ms: int) -> bool:
        if not self._going:
            return True
        if self.state == "pending":
            return now_ms - self._since_ms >= self.settings.for_ms
        return self._may_speak(now_ms)

    def _may_speak(self, now_ms: int) -> bool:
        if self._proposed_ms is None:
            return True
        ago_ms = now_ms - self._proposed_ms
        repeats = self.settings.repeat_ms is not None and ago_ms >= self.settings.repeat_ms
        return ago_ms >= self.settings.once_ms and (self._owed or repeats)

    def _speak(self, number: int, now_ms: int) -> None:
        if self._may_speak(now_ms):
            self.proposals.append(number)
            self._proposed_ms, self._owed = now_ms, False

    def _stop(self, held_ms: int, now_ms: int) -> None:
        """What held until then holds no longer."""
        self._kept_until_ms = held_ms + self.settings.keep_ms
        if self.state == "pending" or self._kept_until_ms <= now_ms:
            self._rest()

    def _rest(self) -> None:
        self.state, self._kept_until_ms, self._owed, self._look_ms = "inactive", None, False, 0
        if not self.settings.once_ms:
            self._proposed_ms = None


def _allowed(rate: tuple[float, int, int]) -> Fraction:
    many, per_ms, window_ms = rate
    return Fraction(str(many)) * window_ms / per_ms
