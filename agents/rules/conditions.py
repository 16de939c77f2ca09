"""What a rule waits for, as far as one event says it: the last word, and the absence of any.

A condition is pure: it folds what it is told into a few plain values that are kept in the row, and says of those
whether it holds. `counting` has the conditions that look at more than one event.
"""

from typing import Any, Protocol

from msgspec import Struct


class Heard(Struct, frozen=True, kw_only=True, gc=False):
    """One event as a condition sees it. Times are milliseconds since the epoch: when it happened, and log time.

    `going` says whether the rule is pending or firing because of the condition.
    """

    matches: bool
    occurred_ms: int
    now_ms: int
    source: str
    going: bool


class Condition(Protocol):
    """Whether it holds, as far as is known. `kept` is None while nothing is."""

    kind: str
    """What is kept has the form that this names."""
    key: str
    """The key of a rule's definition that asks for it."""
    quiet_ms: int
    """More than 0 for a condition that silence brings about: it begins on ticks alone, and only while the source was
    heard within half of this time."""

    def after(self, kept: Any, heard: Heard) -> Any:
        """What is kept after an event."""

    def aged(self, kept: Any, now_ms: int) -> Any:
        """What is kept when nothing came until now."""

    def holds(self, kept: Any, now_ms: int) -> bool:
        """Whether it holds now."""

    def ripe_ms(self, kept: Any, since_ms: int, for_ms: int) -> int:
        """When a rule that waits since then for so long may fire although nothing is heard at that moment."""

    def fresh(self, kept: Any, now_ms: int) -> bool:
        """Whether what is kept is new enough for that."""

    def held_ms(self, kept: Any, now_ms: int) -> int:
        """Up to when it held, when an event ends it now; `kept` is from before the event."""

    def begins_ms(self, kept: Any) -> int | None:
        """When it begins to hold if nothing comes; None when only an event can bring it about."""

    def ends_ms(self, kept: Any) -> int | None:
        """When it ceases to hold if nothing comes; None when only an event can end it."""

    def standing(self, kept: Any, now_ms: int) -> str:
        """How far it is from holding, as a sentence."""


class LastWord:
    """Holds while the last event that was heard matched. Keeps the log time of that event.

    It speaks for the time after it too, as a sample does until the next one, but for no longer than `fresh_ms`. And
    where samples come, the next one is waited for: it may say that all is well again.
    """

    kind = key = "when"
    quiet_ms = 0

    def __init__(self, fresh_ms: int) -> None:
        self._fresh_ms = fresh_ms

    def after(self, kept: Any, heard: Heard) -> int | None:
        return heard.now_ms if heard.matches else None

    def aged(self, kept: Any, now_ms: int) -> Any:
        return kept

    def holds(self, kept: Any, now_ms: int) -> bool:
        return kept is not None

    def ripe_ms(self, kept: Any, since_ms: int, for_ms: int) -> int:
        return int(kept) + for_ms

    def fresh(self, kept: Any, now_ms: int) -> bool:
        return now_ms - int(kept) <= self._fresh_ms

    def held_ms(self, kept: Any, now_ms: int) -> int:
        return now_ms if kept is None else int(kept)

    def begins_ms(self, kept: Any) -> None:
        return None

    def ends_ms(self, kept: Any) -> None:
        return None

    def standing(self, kept: Any, now_ms: int) -> str:
        return "nothing was heard yet" if kept is None else f"the last match was heard {now_ms - int(kept)} ms ago"


class Steady:
    """What is the same of every condition that does not rest on the last event alone: time makes it ripe, what is kept
    does not go stale, and what ends it ends it now."""

    def ripe_ms(self, kept: Any, since_ms: int, for_ms: int) -> int:
        return since_ms + for_ms

    def fresh(self, kept: Any, now_ms: int) -> bool:
        return True

    def held_ms(self, kept: Any, now_ms: int) -> int:
        return now_ms

    def begins_ms(self, kept: Any) -> int | None:
        return None

    def ends_ms(self, kept: Any) -> int | None:
        return None


class Absent(Steady):
    """Holds once the last match was heard long enough ago. Keeps its log time and its source."""

    kind = key = "absent"

    def __init__(self, quiet_ms: int) -> None:
        self.quiet_ms = quiet_ms

    def after(self, kept: Any, heard: Heard) -> Any:
        return {"last_ms": heard.now_ms, "source": heard.source} if heard.matches else kept

    def aged(self, kept: Any, now_ms: int) -> Any:
        return kept

    def holds(self, kept: Any, now_ms: int) -> bool:
        return kept is not None and now_ms - kept["last_ms"] >= self.quiet_ms

    def begins_ms(self, kept: Any) -> int | None:
        return None if kept is None else kept["last_ms"] + self.quiet_ms

    def standing(self, kept: Any, now_ms: int) -> str:
        if kept is None:
            return "nothing of the subject was heard yet, so nothing of it can be absent"
        return f"the last match was heard {now_ms - kept['last_ms']} ms ago, and it fires after {self.quiet_ms} ms"
