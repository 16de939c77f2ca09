"""Why a rule stayed silent: which of its keys, on which values, and for how long still. Asked later, never in the loop.

The first key in the order of thinking that kept it silent is the one that is named: the event did not match, there were
too few, it did not last, it had proposed already.
"""

import math
from collections.abc import Mapping
from typing import Any, Protocol

from agents.rules.conditions import Condition
from agents.rules.phases import Phases, is_going
from control_plane.sdk import Context, ExpressionMiss, Program, RuleInForce, Silence

_ABSENT = object()


class Explainable(Protocol):
    """A rule, as far as it is needed here."""

    name: str
    definition: RuleInForce
    when: Program
    condition: Condition
    phases: Phases
    heeds_sources: bool


def explained(rule: Explainable, context: Context, after: Mapping[str, Any] | None) -> Silence:
    """The silence of a rule that is `after` this event or tick."""
    state = dict(after or {"state": "inactive"})
    read, missing = ({}, ()) if context.by_tick else _read(rule.when, context)
    clause, because = _no_match(rule, context) or _no_proposal(rule, context, state)
    waits_ms = math.inf if clause in ("when", "live") else rule.phases.waits_ms(state, context.now_ms)
    return Silence(
        agent=rule.name,
        clause=clause,
        because=because,
        state=state["state"],
        read=read,
        missing=missing,
        wait_ms=None if waits_ms == math.inf else max(0, int(waits_ms)),
    )


def _no_match(rule: Explainable, context: Context) -> tuple[str, str] | None:
    if context.by_tick:
        return None
    try:
        value = rule.when.evaluate(context.scope)
    except ExpressionMiss as miss:
        return "when", f"the event does not match: {miss}"
    return None if value is True else ("when", f"the event does not match: {rule.definition.when} is {_shown(value)}")


def _no_proposal(rule: Explainable, context: Context, state: dict[str, Any]) -> tuple[str, str]:
    key, now_ms, kept = rule.condition.key, context.now_ms, state.get("kept")
    if "look_ms" in state and kept is not None and not context.live:
        source = kept["source"]
        heard_ms = context.heard.get(source)
        ago = "not at all" if heard_ms is None else f"{now_ms - heard_ms} ms ago"
        return key, f"{source} itself was last heard {ago}, so that its silence says nothing of the subject"
    if not is_going(state):
        return key, rule.condition.standing(kept, now_ms)
    if state["state"] == "pending":
        holds = f"it holds for {now_ms - state['since_ms']} ms, and it takes {rule.definition.for_}"
        if context.by_tick and not rule.condition.fresh(kept, now_ms):
            oldest = rule.definition.context_age_max
            return "for", f"{holds}, but the last match is older than {oldest}, and nothing was heard since"
        return "for", holds
    if "owed" in state:
        return "once_within", f"it proposed {now_ms - state['proposed_ms']} ms ago already"
    if rule.definition.repeat_interval is None:
        return "repeat_interval", "it proposed when it started to fire, and it has no repeat_interval"
    if context.live:
        return "live", f"a command is under way: {', '.join(context.live)}"
    return "repeat_interval", f"it proposed {now_ms - state['proposed_ms']} ms ago, and it fires on"


def _read(program: Program, context: Context) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What the condition read of the event and the row, by path, and what was not there."""
    event, subject = context.event, context.subject
    variables: dict[str, Any] = {
        "data": event.data,
        "rows": context.rows,
        "subject": {"kind": subject.kind, "name": subject.name, "id": subject.id},
        "event": {"type": event.type, "source": event.lineage.source},
    }
    found = {".".join(path): _value(variables, path) for path in sorted(program.paths) if path[0] in variables}
    missing = tuple(path for path, value in found.items() if value is _ABSENT)
    return {path: value for path, value in found.items() if value is not _ABSENT}, missing


def _value(variables: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    value: Any = variables
    for step in path:
        if not isinstance(value, Mapping) or step not in value:
            return _ABSENT
        value = value[step]
    return value


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)
