"""Outcomes and effects on their way back into the row, so that the next decision sees them.

What comes back is matched with what the row has open and otherwise dropped: that is what makes repeats harmless.
"""

from msgspec.structs import replace

from control_plane.catalogue import Controls
from control_plane.causality.lineage import trail_step
from control_plane.messages import Context, Effect, Event, Outcome, Proposed
from control_plane.messages.effect import Judgement
from control_plane.messages.event import DECISION_PROPOSED, EFFECT_JUDGED, OUTCOME_PREFIX
from control_plane.ports.agent import ASKS_EVERY_MAX_MS, SLOW_ANSWER_MAX_MS
from control_plane.ports.expressions import ExpressionMiss, Scope
from state.rows import EffectWatch, LiveCommand, OpenContext, RecentAction, Row

EFFECT_WATCHES_MAX = 8
"""Windows that one subject may have open; the oldest is judged `unknown` when one more opens."""

OPEN_CONTEXTS_MAX = 4
"""Contexts of one agent that a subject remembers; the answer to an older one is dropped."""


def with_outcome(row: Row, outcome: Outcome) -> Row | None:
    """The row after an outcome; None when none of its live commands awaits it."""
    live = next((found for found in row.live if found.command_id == outcome.command_id), None)
    if live is None:
        return None
    watches = row.watches
    if live.expects is not None and outcome.status == "succeeded":
        watches = (*watches, _window(row, live, outcome))
    return replace(
        row,
        action_version=row.action_version + 1,
        live=tuple(found for found in row.live if found is not live),
        recent=_with_action(row, outcome.command_id, outcome=outcome.status),
        watches=watches,
    )


def with_effect_heard(row: Row, effect: Effect) -> Row | None:
    """The row after its own effect came back; None when it came before, or never was this row's."""
    for action in row.recent:
        if action.command_id == effect.command_id and action.effect == effect.effect and not action.effect_heard:
            return replace(row, recent=_with_action(row, effect.command_id, effect_heard=True))
    return None


def with_answer(row: Row, proposed: Proposed, asks_every_ms: int = 0) -> Row | None:
    """The row after a slow agent's answer; None when it is not to a context that the row waits for.

    What is kept of it, if the agent is asked once within `asks_every_ms`, only keeps it from being asked too soon.
    """
    asked = asked_with(row, proposed)
    if asked is None:
        return None
    is_kept = asked.state == "open" and row.now_ms - asked.since_ms < asks_every_ms
    answered = (replace(asked, state="answered"),) if is_kept else ()
    left = tuple(found for found in row.asked if found is not asked)
    return replace(row, asked=(*left, *answered))


def asked_with(row: Row, proposed: Proposed) -> OpenContext | None:
    """The context that an answer is to, if the row waits for it."""
    for asked in row.asked:
        if asked.context_id == proposed.context_id and asked.state != "answered":
            return asked
    return None


def with_question(row: Row, context: Context, asks_every_ms: int = 0) -> Row | None:
    """The row that has sent a slow agent a context; None when the agent is not to be asked now.

    An agent is asked about a subject once within `asks_every_ms`, and not while it owes an answer that could still be
    acted on: once something was done to the subject, or the answer has been waited for too long, it is asked anew, and
    what it says to the older context is superseded.
    """
    own = [asked for asked in row.asked if asked.agent == context.agent]
    if any(_still_counts(asked, row, asks_every_ms) for asked in own):
        return None
    asked = OpenContext(
        context_id=context.lineage.message_id,
        agent=context.agent,
        since_ms=row.now_ms,
        action_version=row.action_version,
    )
    older = [replace(found, state="superseded") for found in own if found.state != "answered"]
    long_ago_ms = row.now_ms - ASKS_EVERY_MAX_MS
    others = [found for found in row.asked if found.agent != context.agent and found.since_ms > long_ago_ms]
    return replace(row, asked=(*others, *older[1 - OPEN_CONTEXTS_MAX :], asked))


def sampled(row: Row, scope: Scope, controls: Controls) -> Row:
    """The row with one more sample in each open window that the expressions can be evaluated for."""
    watches = tuple(_with_sample(watch, scope, controls) for watch in row.watches)
    return replace(row, watches=watches)


def close_windows(row: Row) -> tuple[Row, tuple[Effect, ...]]:
    """The row without the windows that are over, and what each of them came to."""
    over = [watch for watch in row.watches if watch.closes_ms <= row.now_ms]
    over += [watch for watch in row.watches[:-EFFECT_WATCHES_MAX] if watch not in over]
    if not over:
        return row, ()
    effects = tuple(_judged(watch, row) for watch in over)
    row = replace(row, watches=tuple(watch for watch in row.watches if watch not in over))
    for effect in effects:
        row = replace(row, recent=_with_action(row, effect.command_id, effect=effect.effect))
    return row, effects


def returns(event: Event) -> bool:
    """Whether the event is one of the loop's own messages that comes back."""
    return event.type.startswith(OUTCOME_PREFIX) or event.type in (EFFECT_JUDGED, DECISION_PROPOSED)


def _still_counts(asked: OpenContext, row: Row, asks_every_ms: int) -> bool:
    """Whether what an agent was asked before keeps it from being asked now."""
    age_ms = row.now_ms - asked.since_ms
    if age_ms < asks_every_ms:
        return True
    is_open = asked.state == "open" and age_ms < SLOW_ANSWER_MAX_MS
    return is_open and asked.action_version == row.action_version


def _window(row: Row, live: LiveCommand, outcome: Outcome) -> EffectWatch:
    assert live.expects is not None
    return EffectWatch(
        command_id=live.command_id,
        decision_id=live.decision_id,
        agent=live.agent,
        intent=live.intent,
        lineage=outcome.lineage,
        expects=live.expects,
        closes_ms=row.now_ms + live.expects.within_ms,
        # Another action's window is open, or another command under way: whose effect it was could not be told.
        disturbed=bool(row.watches) or len(row.live) > 1,
    )


def _with_action(row: Row, command_id: str, **changes: str | bool) -> tuple[RecentAction, ...]:
    return tuple(replace(a, **changes) if a.command_id == command_id else a for a in row.recent)


def _with_sample(watch: EffectWatch, scope: Scope, controls: Controls) -> EffectWatch:
    try:
        held = controls.program(watch.expects.where).evaluate(scope) is True
        harmed = watch.expects.harm is not None and controls.program(watch.expects.harm).evaluate(scope) is True
    except ExpressionMiss:
        return watch
    return replace(watch, samples=watch.samples + 1, held=held, harmed=harmed)


def _judged(watch: EffectWatch, row: Row) -> Effect:
    effect, because = _judgement(watch, row.now_ms)
    step = trail_step(watch.agent, row.subject, watch.intent)
    return Effect(
        lineage=watch.lineage.returning(f"effect/{watch.command_id}", step),
        subject=row.subject,
        occurred_ms=row.now_ms,
        decision_id=watch.decision_id,
        command_id=watch.command_id,
        agent=watch.agent,
        intent=watch.intent,
        effect=effect,
        samples=watch.samples,
        because=because,
    )


def _judgement(watch: EffectWatch, now_ms: int) -> tuple[Judgement, str]:
    expects = watch.expects
    if watch.closes_ms > now_ms:
        return "unknown", f"more than {EFFECT_WATCHES_MAX} windows were open on the subject"
    if watch.disturbed:
        return "unknown", "another action fell into the same window"
    if watch.samples < expects.samples_min:
        return "unknown", f"{watch.samples} samples came in; {expects.samples_min} were needed"
    if watch.harmed:
        return "harmful", f"the harm holds: {expects.harm}"
    if watch.held:
        return "effective", f"it holds: {expects.where}"
    return "ineffective", f"it does not hold: {expects.where}"
