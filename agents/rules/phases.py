"""Inactive, pending, firing: what a rule is on one subject, and when it proposes.

What is kept in the row is a dict of plain values: `state`, `of` (the form of what the condition keeps) and, where they
mean something, `kept`, `since_ms`, `ends_ms` (fires on until then, although nothing holds any more), `proposed_ms`,
`owed` (fires and has not proposed yet), `look_ms` (nothing by silence before then), `because`, `wake_ms`, `propose` (at
this very event). Times are log time, milliseconds since the epoch.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from agents.rules.conditions import Condition

LOOKS_PER_WAIT = 4
"""What silence asks for and may not be yet, because the source is silent as well or a command is under way, is looked
at again after this part of the time that it waited for."""

LOOK_MS_MIN = 250

State = dict[str, Any]

_ONLY_GOING = ("since_ms", "ends_ms", "owed", "look_ms", "because")
_ONLY_NOW = ("propose", "wake_ms")


class Turn(Struct, frozen=True, kw_only=True, gc=False):
    """What a rule is told: an event or, with `by_tick`, that time has passed. `alive` says whether the source that the
    condition waits for was heard lately, `live` whether a command is under way."""

    now_ms: int
    by_tick: bool = False
    matches: bool = False
    alive: bool = False
    live: bool = False


class Phases:
    """How long a rule waits, and how often it proposes. `repeat_ms` is None when it does not repeat.

    This one is for conditions that events bring about; `SilencePhases` for those that silence does.
    """

    def __init__(
        self, condition: Condition, *, for_ms: int = 0, once_ms: int = 0, keep_ms: int = 0, repeat_ms: int | None = None
    ) -> None:
        self.condition = condition
        self._for_ms = for_ms
        self._once_ms = once_ms
        self._keep_ms = keep_ms
        self._repeat_ms = repeat_ms

    def aged(self, own: Mapping[str, Any] | None, now_ms: int) -> State:
        """The state when nothing came until now: time ends what holds by itself, and lets go of what is over."""
        condition = self.condition
        if own is None or own["of"] != condition.kind:
            return {"state": "inactive", "of": condition.kind}
        state = {key: value for key, value in own.items() if key not in _ONLY_NOW}
        kept = state.get("kept")
        if is_going(state):
            ends_ms = condition.ends_ms(kept)
            if ends_ms is not None and ends_ms <= now_ms:
                self._end(state, ends_ms, now_ms)
        elif state.get("ends_ms", now_ms + 1) <= now_ms:
            self._rest(state)
        if state["state"] == "inactive" and now_ms - state.get("proposed_ms", now_ms) >= self._once_ms:
            state.pop("proposed_ms", None)
        return _with(state, "kept", condition.aged(kept, now_ms))

    def after(self, aged: State, kept: Any, turn: Turn) -> State:
        """The state after a turn; `kept` is what the condition keeps now."""
        state = dict(aged)
        if self.condition.holds(kept, turn.now_ms):
            starts = self._hold(state, turn.now_ms, sure=not turn.by_tick or self._ripe(state, kept, turn.now_ms))
            if state["state"] == "firing" and (starts or turn.matches):
                self._propose(state, turn)
        elif is_going(state):
            self._end(state, self.condition.held_ms(aged.get("kept"), turn.now_ms), turn.now_ms)
        return _with(state, "kept", kept)

    def waits_ms(self, state: State, now_ms: int) -> float:
        """How long it waits until it may fire or propose again if nothing changes; infinite when it does not."""
        if state["state"] == "pending":
            return float(state["since_ms"] + self._for_ms - now_ms)
        return self._proposes_ms(state) - now_ms if is_going(state) else float("inf")

    def wakes_ms(self, state: State, now_ms: int) -> int | None:
        """When a tick is wanted next: the earliest time at which time alone changes what the rule is or says."""
        times = []
        if state["state"] == "pending":
            ripe_ms = self.condition.ripe_ms(state["kept"], state["since_ms"], self._for_ms)
            times += [ripe_ms] if ripe_ms > now_ms else []
        if state["state"] == "firing" and "ends_ms" not in state:
            ends_ms = self.condition.ends_ms(state.get("kept"))
            times += [ends_ms + self._keep_ms] if ends_ms is not None else []
        return min([*times, *self._rests_ms(state)], default=None)

    def _ripe(self, state: State, kept: Any, now_ms: int) -> bool:
        """Whether a rule that is pending may fire on a tick."""
        ripe_ms = self.condition.ripe_ms(kept, state.get("since_ms", now_ms), self._for_ms)
        return ripe_ms <= now_ms and self.condition.fresh(kept, now_ms)

    def _hold(self, state: State, now_ms: int, *, sure: bool) -> bool:
        """The condition holds. Gives whether the rule starts to fire."""
        state.pop("ends_ms", None)
        if state["state"] == "inactive":
            state.update(state="pending", since_ms=now_ms)
        if state["state"] == "firing" or not sure or now_ms - state["since_ms"] < self._for_ms:
            return False
        state.update(state="firing", owed=True)
        return True

    def _end(self, state: State, held_ms: int, now_ms: int) -> None:
        """The condition holds no longer; it did until `held_ms`."""
        state["ends_ms"] = held_ms + self._keep_ms
        if state["state"] == "pending" or state["ends_ms"] <= now_ms:
            self._rest(state)

    def _rest(self, state: State) -> None:
        for key in _ONLY_GOING:
            state.pop(key, None)
        state["state"] = "inactive"
        if not self._once_ms:
            state.pop("proposed_ms", None)

    def _propose(self, state: State, turn: Turn) -> None:
        """Propose, if it is time: at once when it starts to fire, and again while it fires on and nothing is live."""
        if turn.now_ms < self._proposes_ms(state) or (turn.live and "owed" not in state):
            return
        state.pop("owed", None)
        state.update(proposed_ms=turn.now_ms, propose=True)

    def _proposes_ms(self, state: State) -> float:
        """From when on a rule that fires may propose; infinite when it will not."""
        proposed_ms = state.get("proposed_ms")
        if proposed_ms is None:
            return 0
        if "owed" in state:
            return float(proposed_ms + self._once_ms)
        return float("inf") if self._repeat_ms is None else float(proposed_ms + max(self._once_ms, self._repeat_ms))

    def _rests_ms(self, state: State) -> list[int]:
        if "ends_ms" in state:
            return [state["ends_ms"]]
        if state["state"] == "inactive" and "proposed_ms" in state:
            return [state["proposed_ms"] + self._once_ms]
        return []


class SilencePhases(Phases):
    """A dead intake is not a dead world: silence begins, fires and repeats on ticks alone, and only while the source
    that should be heard was heard lately, of this subject or of others."""

    def after(self, aged: State, kept: Any, turn: Turn) -> State:
        """The state after a turn."""
        state = dict(aged)
        holds = self.condition.holds(kept, turn.now_ms)
        if turn.by_tick:
            if holds and self._wanted_ms(state, kept) <= turn.now_ms:
                self._look(state, turn)
        elif not holds:
            state.pop("look_ms", None)
            if is_going(state):
                self._end(state, turn.now_ms, turn.now_ms)
        return _with(state, "kept", kept)

    def waits_ms(self, state: State, now_ms: int) -> float:
        """How long it waits until it may begin, fire or propose again if nothing changes; infinite when it does not."""
        return self._wanted_ms(state, state.get("kept")) - now_ms

    def wakes_ms(self, state: State, now_ms: int) -> int | None:
        """When a tick is wanted next."""
        wanted_ms = self._wanted_ms(state, state.get("kept"))
        wanted = [int(wanted_ms)] if wanted_ms != float("inf") else []
        return min([*wanted, *self._rests_ms(state)], default=None)

    def _wanted_ms(self, state: State, kept: Any) -> float:
        """From when on silence asks for something, if nothing comes."""
        if state["state"] == "pending":
            asks_ms = float(state["since_ms"] + self._for_ms)
        elif is_going(state):
            asks_ms = self._proposes_ms(state)
        else:
            begins_ms = self.condition.begins_ms(kept)
            asks_ms = float("inf") if begins_ms is None else float(begins_ms)
        return max(asks_ms, float(state.get("look_ms", 0)))

    def _look(self, state: State, turn: Turn) -> None:
        state.pop("look_ms", None)
        repeats = is_going(state) and state["state"] == "firing" and "owed" not in state
        if not turn.alive or (repeats and turn.live):
            waited_ms = self._repeat_ms or 0 if repeats else self.condition.quiet_ms
            state["look_ms"] = turn.now_ms + max(waited_ms // LOOKS_PER_WAIT, LOOK_MS_MIN)
            return
        self._hold(state, turn.now_ms, sure=True)
        if state["state"] == "firing":
            self._propose(state, turn)


def is_going(state: Mapping[str, Any]) -> bool:
    """Whether the rule is pending, or firing because its condition holds."""
    return state["state"] != "inactive" and "ends_ms" not in state


def _with(state: State, key: str, value: Any) -> State:
    if value is None:
        state.pop(key, None)
    else:
        state[key] = value
    return state
