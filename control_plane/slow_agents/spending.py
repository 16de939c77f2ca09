"""What one agent has used up of late: tokens within an hour, money within a day. A fold of `tools.v1`, nothing else.

What was asked and is not known to be answered counts with all that it may use up: nobody knows better.
"""

from collections import OrderedDict
from typing import Final

from control_plane.messages import Usage
from control_plane.ports.journal import Budget

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS

GRAIN_MS: Final = 60_000
"""What was used up within so much time is kept as one number: a window may end by so much later, never sooner."""

OPEN_MAX: Final = 10_000
"""Invocations without an answer that are told apart; the oldest is then counted as used up for good."""


GRAINS_MAX: Final = 2 * DAY_MS // GRAIN_MS


class Spending:
    """Of one agent. Times are append times of the log, milliseconds since the epoch."""

    def __init__(self) -> None:
        self._tokens: dict[int, int] = {}
        self._cost_micros: dict[int, int] = {}
        self._open: OrderedDict[str, tuple[int, Usage]] = OrderedDict()

    def invoked(self, invocation_id: str, at_ms: int, at_most: Usage) -> None:
        """Something was asked; its answer may use up so much."""
        self._open.setdefault(invocation_id, (at_ms, at_most))
        while len(self._open) > OPEN_MAX:
            _, (asked_ms, usage) = self._open.popitem(last=False)
            self._use(asked_ms, usage)

    def learnt(self, invocation_id: str, at_ms: int, usage: Usage) -> None:
        """What was asked is answered, or will not be."""
        if self._open.pop(invocation_id, None) is not None:
            self._use(at_ms, usage)

    def unasked(self, invocation_id: str) -> None:
        """It was not asked after all."""
        self._open.pop(invocation_id, None)

    def why_not(self, budget: Budget, invocation_id: str, at_most: Usage, now_ms: int) -> tuple[str, str] | None:
        """The code and the sentence of why so much more may not be used up now; None when it may. What was asked before
        and is to be asked again counts once."""
        self.unasked(invocation_id)
        if budget.tokens_per_hour is not None:
            used = self.tokens_since(now_ms - HOUR_MS)
            if used + at_most.tokens > budget.tokens_per_hour:
                return "budget_tokens", _sentence("tokens", used, at_most.tokens, budget.tokens_per_hour, "an hour")
        if budget.cost_per_day_micros is not None:
            used = self.cost_since(now_ms - DAY_MS)
            if used + at_most.cost_micros > budget.cost_per_day_micros:
                limit = budget.cost_per_day_micros
                return "budget_cost", _sentence("millionths", used, at_most.cost_micros, limit, "a day")
        return None

    def tokens_since(self, since_ms: int) -> int:
        """Tokens used up since then."""
        known = sum(tokens for ends_ms, tokens in self._tokens.items() if ends_ms > since_ms)
        return known + sum(usage.tokens for at_ms, usage in self._open.values() if at_ms > since_ms)

    def cost_since(self, since_ms: int) -> int:
        """Money used up since then, in millionths."""
        known = sum(cost for ends_ms, cost in self._cost_micros.items() if ends_ms > since_ms)
        return known + sum(usage.cost_micros for at_ms, usage in self._open.values() if at_ms > since_ms)

    def _use(self, at_ms: int, usage: Usage) -> None:
        ends_ms = (at_ms // GRAIN_MS + 1) * GRAIN_MS
        for used, many in ((self._tokens, usage.tokens), (self._cost_micros, usage.cost_micros)):
            if many:
                used[ends_ms] = used.get(ends_ms, 0) + many
            if len(used) > GRAINS_MAX:
                for over in sorted(used)[: GRAINS_MAX // 2]:
                    del used[over]


def _sentence(what: str, used: int, more: int, limit: int, window: str) -> str:
    return f"{used} {what} were used within {window} and this may take {more}; the budget is {limit}"
