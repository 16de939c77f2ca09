"""One rule: inactive, pending or firing per subject; it proposes when it starts to fire, not once per event.

Its state lives in the row (`Context.own`) and changes with events and with ticks, in log time; windows follow the time
at which events happened. What a key means stands in `docs/rules.md`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from agents.rules.building import condition_of, ms
from agents.rules.conditions import Heard
from agents.rules.phases import Phases, SilencePhases, State, Turn, is_going
from agents.rules.silence import explained
from agents.rules.template import Template
from control_plane.sdk import (
    Agent,
    Context,
    Decision,
    Expectation,
    Expressions,
    Program,
    RuleInForce,
    Silence,
    ms_of,
    parse_duration_ms,
)

ALWAYS = "true"
"""The `when` of a rule that names none."""


class Rule(Agent):
    """A rule as a user declared it, compiled."""

    def __init__(self, definition: RuleInForce, expressions: Expressions) -> None:
        """Raises ExpressionInvalid when one of its expressions is none, and ValueError when its keys do not go
        together."""
        self.name = definition.rule
        self.version = definition.version
        self.listens_to = (definition.on,) if isinstance(definition.on, str) else tuple(definition.on)
        self.reads = tuple(definition.reads)
        self.intents = (definition.propose.intent,)
        self.definition = definition
        self.when: Program = expressions.compile(definition.when)
        self.wakes_when = self.when if definition.when != ALWAYS else None
        self._because = Template(definition.propose.because, expressions)
        target = definition.propose.subject
        self._target = Template(target, expressions) if target is not None else None
        self._still_when = definition.still_when
        self._expects = _expectation(definition, expressions)
        self.condition = condition_of(definition)
        self.heeds_sources = self.condition.quiet_ms > 0
        self.phases = (SilencePhases if self.heeds_sources else Phases)(
            self.condition,
            for_ms=ms(definition.for_),
            once_ms=ms(definition.once_within),
            keep_ms=ms(definition.keep_firing_for),
            repeat_ms=ms(definition.repeat_interval) if definition.repeat_interval else None,
        )
        # A tick has no data to say why with: what the last match said is kept until then.
        self._says_before = bool(ms(definition.for_)) and not self.heeds_sources and self._because.reads_event

    def remember(self, context: Context) -> State | None:
        """The rule's state after this event or tick, None for inactive. `propose` is there when it proposes now."""
        now_ms = context.now_ms
        before: Mapping[str, Any] | None = context.own
        aged = self.phases.aged(before, now_ms)
        kept, matches = aged.get("kept"), False
        if not context.by_tick:
            matches = self.wakes_when is None or context.matches(self.when)
            kept = self.condition.after(kept, self._heard(context, matches, aged))
        turn = Turn(
            now_ms=now_ms,
            by_tick=context.by_tick,
            matches=matches,
            alive=self.heeds_sources and self._is_alive(kept, context),
            live=bool(context.live),
        )
        state = self.phases.after(aged, kept, turn)
        if self._says_before:
            self._keep_because(state, context, matches)
        return self._with_timer(state, before, now_ms)

    def wakes_at(self, kept: Any) -> int | None:
        """When the rule wants a tick, in log time."""
        return None if kept is None else kept.get("wake_ms")

    def state(self, kept: Any, now_ms: int) -> str:
        """`inactive`, `pending` or `firing`: what a rule that keeps this is, if nothing came until now."""
        return str(self.phases.aged(kept, now_ms)["state"])

    def why_not(self, context: Context) -> Silence | None:
        """Why the rule stays silent, on which values and for how long still; None when it proposes."""
        after = self.remember(context)
        if after is not None and "propose" in after:
            return None
        return explained(self, context, after)

    def decide(self, context: Context) -> Sequence[Decision]:
        """One proposal when the rule starts to fire, or fires on and it is time to repeat it."""
        said = (context.own or {}).get("propose")
        if not said:
            return ()
        propose = self.definition.propose
        return (
            context.propose(
                propose.intent,
                because=said if isinstance(said, str) else self._because.render(context),
                parameters=propose.parameters,
                confidence=propose.confidence,
                expects=self._expects,
                still_when=self._still_when,
                # A tick that is in the log twice has one id, and may wake the rule twice.
                nth=context.now_ms if context.by_tick else 0,
                subject=self._target.render_whole(context) if self._target is not None else None,
            ),
        )

    def _heard(self, context: Context, matches: bool, aged: State) -> Heard:
        return Heard(
            matches=matches,
            occurred_ms=min(ms_of(context.event.occurred_at), context.now_ms),
            now_ms=context.now_ms,
            source=context.event.lineage.source,
            going=is_going(aged),
        )

    def _is_alive(self, kept: Any, context: Context) -> bool:
        """Whether the source that the subject was heard from was heard within half of the silence that counts."""
        if kept is None:
            return False
        return context.heard.get(kept["source"], 0) >= context.now_ms - self.condition.quiet_ms // 2

    def _keep_because(self, state: State, context: Context, matches: bool) -> None:
        said = state.pop("because", None)
        if state["state"] == "pending":
            said = self._because.render(context) if matches else said
            if said is not None:
                state["because"] = said
        elif state.get("propose") and context.by_tick and said is not None:
            state["propose"] = said

    def _with_timer(self, state: State, before: Mapping[str, Any] | None, now_ms: int) -> State | None:
        wanted_ms = self.phases.wakes_ms(state, now_ms)
        if wanted_ms is not None:
            earlier_ms = before.get("wake_ms") if before is not None and before["state"] == state["state"] else None
            # A timer is not moved on with every event: it is cheaper to be woken once too early.
            state["wake_ms"] = earlier_ms if earlier_ms is not None and now_ms < earlier_ms < wanted_ms else wanted_ms
        return None if state["state"] == "inactive" and len(state) == 2 else state


def _expectation(definition: RuleInForce, expressions: Expressions) -> Expectation | None:
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
