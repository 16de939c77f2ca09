"""Conditions on how many events matched within a window of event time.

The window is (t - window, t]. At a match t is when the newest match happened, so an event that is late counts in its
own place; from there on t moves with the log's clock, until the next match. After a match nothing is remembered for
longer than one window of log time: what comes later than that counts alone.
"""

from bisect import insort
from typing import Any

from agents.rules.conditions import Heard, Steady

BUCKETS_PER_WINDOW = 20
"""The edge of a rate's window is exact to a twentieth of its length."""


class Count(Steady):
    """Holds while at least `least` matches lie in the window. Keeps the newest times, as many as it asks for: no other
    can ever matter."""

    quiet_ms = 0
    kind = key = "count"

    def __init__(self, least: int, window_ms: int) -> None:
        self._least = least
        self._window_ms = window_ms

    def after(self, kept: Any, heard: Heard) -> Any:
        kept = self.aged(kept, heard.now_ms)
        if not heard.matches:
            return kept
        times = list(kept["times"]) if kept is not None else []
        insort(times, heard.occurred_ms)
        return {"times": times[-self._least :], "heard_ms": heard.now_ms}

    def aged(self, kept: Any, now_ms: int) -> Any:
        return None if kept is None or now_ms - kept["heard_ms"] >= self._window_ms else kept

    def holds(self, kept: Any, now_ms: int) -> bool:
        ends_ms = self.ends_ms(kept)
        return ends_ms is not None and now_ms < ends_ms

    def ends_ms(self, kept: Any) -> int | None:
        if kept is None or len(kept["times"]) < self._least:
            return None
        times = kept["times"]
        return int(times[0] + self._window_ms - times[-1] + kept["heard_ms"])

    def standing(self, kept: Any, now_ms: int) -> str:
        kept, counted = self.aged(kept, now_ms), 0
        if kept is not None:
            edge_ms = kept["times"][-1] + now_ms - kept["heard_ms"] - self._window_ms
            counted = sum(time_ms > edge_ms for time_ms in kept["times"])
        return f"{counted} matches lie within {self._window_ms} ms, and it takes {self._least}"


class Buckets:
    """How many matches a window holds, counted in a bounded number of buckets. A bucket is named by its beginning."""

    def __init__(self, window_ms: int) -> None:
        self._window_ms = window_ms
        self._width_ms = -(-window_ms // BUCKETS_PER_WINDOW)
        self.form = str(self._width_ms)

    def with_match(self, kept: Any, occurred_ms: int, now_ms: int) -> dict[str, Any]:
        """What is kept after a match: when the newest one happened, when one was last heard, the buckets in order."""
        if kept is None or now_ms - kept["heard_ms"] >= self._window_ms:
            newest_ms, counts = occurred_ms, {}
        else:
            newest_ms, counts = max(kept["newest_ms"], occurred_ms), dict(kept["buckets"])
        own = self._bucket(occurred_ms)
        counts[own] = counts.get(own, 0) + 1
        edge_ms = self._bucket(newest_ms) - self._window_ms
        buckets = [[begins_ms, counts[begins_ms]] for begins_ms in sorted(counts) if begins_ms > edge_ms]
        return {"newest_ms": newest_ms, "heard_ms": now_ms, "buckets": buckets}

    def counted(self, kept: Any, now_ms: int) -> int:
        """How many matches the window holds now."""
        if now_ms - kept["heard_ms"] >= self._window_ms:
            return 0
        edge_ms = self._bucket(kept["newest_ms"] + now_ms - kept["heard_ms"]) - self._window_ms
        return sum([int(many) for begins_ms, many in kept["buckets"] if begins_ms > edge_ms])

    def falls_ms(self, kept: Any, below: int) -> int:
        """When the window will hold fewer than `below`, as a time of the log, if nothing comes."""
        total, heard_ms = 0, int(kept["heard_ms"])
        for begins_ms, many in reversed(kept["buckets"]):
            total += many
            if total >= below:
                leaves_ms = begins_ms + self._window_ms
                first_ms = leaves_ms + -leaves_ms % self._width_ms
                return heard_ms + min(self._window_ms, max(0, int(first_ms - kept["newest_ms"])))
        return heard_ms

    def _bucket(self, time_ms: int) -> int:
        return time_ms - time_ms % self._width_ms


class RateAbove(Steady):
    """Holds while more matches lie in the window than a rate allows."""

    quiet_ms = 0
    key = "rate"

    def __init__(self, allowed: int, window_ms: int) -> None:
        """`allowed` is how many the window may hold."""
        self._allowed = allowed
        self._window_ms = window_ms
        self._buckets = Buckets(window_ms)
        self.kind = f"above/{self._buckets.form}"

    def after(self, kept: Any, heard: Heard) -> Any:
        kept = self.aged(kept, heard.now_ms)
        return self._buckets.with_match(kept, heard.occurred_ms, heard.now_ms) if heard.matches else kept

    def aged(self, kept: Any, now_ms: int) -> Any:
        return None if kept is None or now_ms - kept["heard_ms"] >= self._window_ms else kept

    def holds(self, kept: Any, now_ms: int) -> bool:
        return self.counted(kept, now_ms) > self._allowed

    def ends_ms(self, kept: Any) -> int | None:
        if kept is None or self._buckets.counted(kept, kept["heard_ms"]) <= self._allowed:
            return None
        return self._buckets.falls_ms(kept, self._allowed + 1)

    def counted(self, kept: Any, now_ms: int) -> int:
        """How many matches the window holds now."""
        kept = self.aged(kept, now_ms)
        return 0 if kept is None else self._buckets.counted(kept, now_ms)

    def standing(self, kept: Any, now_ms: int) -> str:
        counted = self.counted(kept, now_ms)
        return f"{counted} matches lie within {self._window_ms} ms, and it takes more than {self._allowed}"


class RateBelow(Steady):
    """Holds while fewer matches lie in the window than a rate asks for, once the subject was watched for a whole one.

    After a silence of a whole window during which the rule did not fire, as when the source itself was silent, the
    watch begins anew: what came back is not slow.
    """

    key = "rate"

    def __init__(self, wanted: int, window_ms: int) -> None:
        """`wanted` is how many the window should hold."""
        self._wanted = wanted
        self._buckets = Buckets(window_ms)
        self.quiet_ms = window_ms
        self.kind = f"below/{self._buckets.form}"

    def after(self, kept: Any, heard: Heard) -> Any:
        if not heard.matches:
            return kept
        anew = kept is None or (not heard.going and heard.now_ms - kept["heard_ms"] >= self.quiet_ms)
        first_ms = heard.now_ms if anew else kept["first_ms"]
        counts = self._buckets.with_match(kept, heard.occurred_ms, heard.now_ms)
        return {**counts, "first_ms": first_ms, "source": heard.source}

    def aged(self, kept: Any, now_ms: int) -> Any:
        return kept

    def holds(self, kept: Any, now_ms: int) -> bool:
        if kept is None or now_ms - kept["first_ms"] < self.quiet_ms:
            return False
        return self.counted(kept, now_ms) < self._wanted

    def begins_ms(self, kept: Any) -> int | None:
        if kept is None:
            return None
        return max(int(kept["first_ms"]) + self.quiet_ms, self._buckets.falls_ms(kept, self._wanted))

    def counted(self, kept: Any, now_ms: int) -> int:
        """How many matches the window holds now."""
        return 0 if kept is None else self._buckets.counted(kept, now_ms)

    def standing(self, kept: Any, now_ms: int) -> str:
        if kept is None:
            return "nothing of the subject was heard yet, so it is not watched"
        left_ms = kept["first_ms"] + self.quiet_ms - now_ms
        if left_ms > 0:
            return f"it is watched for {self.quiet_ms} ms before it counts, and {left_ms} ms of that are left"
        counted = self.counted(kept, now_ms)
        return f"{counted} matches lie within {self.quiet_ms} ms, and it fires at fewer than {self._wanted}"
