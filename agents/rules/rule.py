"""One rule: inactive, pending or firing per subject; it proposes when it starts to fire, not once per event.

Its state lives in the row (`Context.own`) and changes only with events, in log time: `for` is over when an event that
matches comes at least that long after the first one that did, with none between them that did not.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from agents.rules.template import Template
from control_plane.sdk import (
    Agent,
    Context,
    Decision,
    Expectation,
    Expressions,
    Program,
    RuleDefinition,
    parse_duration_ms,
)

MATCHES_KEPT_MAX = 64
"""Matches that a `count` remembers; a larger `min` is refused when the rule is read."""

State = dict[str, Any]
INACTIVE: State = {"state": "inactive"}
"""How a rule begins on a subject; as long as nothing else is to be remembered, nothing is."""


class Rule(Agent):
    """A rule as a user declared it, compiled."""

    def __init__(self, definition: RuleDefinition, expressions: Expressions) -> None:
        """Raises ExpressionInvalid when one of its expressions is none."""
        self.name = definition.rule
        self.version = definition.version
        self.listens_to = (definition.on,) if isinstance(definition.on, str) else tuple(definition.on)
        self.reads = tuple(definition.reads)
        self.intents = (definition.propose.intent,)
        self._propose = definition.propose
        self.wakes_when: Program = expressions.compile(definition.when)
        self._because = Template(definition.propose.because, expressions)
        self._for_ms = _ms(definition.for_)
        self._count = definition.count
        self._count_window_ms = _ms(definition.count.window) if definition.count else 0
        self._repeat_ms = _ms(definition.repeat_interval) if definition.repeat_interval else None
        self._keep_firing_ms = _ms(definition.keep_firing_for)
        self._still_when = definition.still_when
        self._expects = _expectation(definition, expressions)

    def remember(self, context: Context) -> State | None:
        """The rule's state after this event, None for inactive. `propose` is true when this very event makes it
        propose."""
        before: Mapping[str, Any] = context.own or INACTIVE
        if not context.matches(self.wakes_when):
            return self._without_match(before, context.now_ms)
        matches = self._matches(before, context.now_ms)
        if self._count is not None and len(matches) < self._count.min:
            return self._without_match({**before, "matches": matches}, context.now_ms)
        since_ms = before.get("since_ms", context.now_ms)
        if before["state"] != "firing" and context.now_ms - since_ms < self._for_ms:
            return {"state": "pending", "since_ms": since_ms, "matches": matches}
        return self._firing(before, context, since_ms, matches)

    def decide(self, context: Context) -> Sequence[Decision]:
        """One proposal when the rule starts to fire, or fires on and its repeat interval is over."""
        if not (context.own or INACTIVE).get("propose"):
            return ()
        return (
            context.propose(
                self._propose.intent,
                because=self._because.render(context),
                parameters=self._propose.parameters,
                confidence=self._propose.confidence,
                expects=self._expects,
                still_when=self._still_when,
            ),
        )

    def _firing(self, before: Mapping[str, Any], context: Context, since_ms: int, matches: list[int]) -> State:
        proposed_ms: int = before.get("proposed_ms", 0)
        starts = before["state"] != "firing"
        repeats = (
            not starts
            and self._repeat_ms is not None
            and not context.live
            and context.now_ms - proposed_ms >= self._repeat_ms
        )
        return {
            "state": "firing",
            "since_ms": since_ms,
            "matched_ms": context.now_ms,
            "matches": matches,
            "proposed_ms": context.now_ms if starts or repeats else proposed_ms,
            "propose": starts or repeats,
        }

    def _without_match(self, before: Mapping[str, Any], now_ms: int) -> State | None:
        if before["state"] == "firing" and now_ms - before["matched_ms"] < self._keep_firing_ms:
            return {**before, "propose": False}
        kept = [at_ms for at_ms in before.get("matches", ()) if at_ms > now_ms - self._count_window_ms]
        return {"state": "inactive", "matches": kept} if kept else None

    def _matches(self, before: Mapping[str, Any], now_ms: int) -> list[int]:
        if self._count is None:
            return []
        kept = [at_ms for at_ms in before.get("matches", ()) if at_ms > now_ms - self._count_window_ms]
        return [*kept, now_ms][-MATCHES_KEPT_MAX:]


def _ms(duration: str | None) -> int:
    return parse_duration_ms(duration) if duration else 0


def _expectation(definition: RuleDefinition, expressions: Expressions) -> Expectation | None:
    expects = definition.expects
    if expects is None:
        return None
    for text in (expects.where, expects.harm):
        if text is not None:
            expressions.compile(text)
    return Expectation(
        where=expects.where,
        within_ms=parse_duration_ms(expects.within),
        harm=expects.harm,
        samples_min=expects.samples_min,
    )
