"""Contexts in, decisions out. An agent that raises or answers nonsense is contained; the others go on."""

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from control_plane.catalogue import AgentInForce
from control_plane.errors import InvalidMessage
from control_plane.messages import Context, Decision

DECISIONS_PER_EVENT_MAX = 8
"""Decisions that one agent may make on one event."""


class Deliberated(Struct, frozen=True):
    """What one agent made of its context: its own part of the row, and its decisions; or why it failed."""

    own: object
    decisions: tuple[Decision, ...]
    failure: InvalidMessage | None = None


def deliberate(found: AgentInForce, context: Context, controls_revision: str) -> Deliberated:
    """Ask one agent. Its failure is a value: the event is kept as a dead letter, the agent's part stays."""
    try:
        if found.remembers:
            context = replace(context, own=found.agent.remember(context))  # type: ignore[attr-defined]
        answer = found.agent.decide(context)
    except Exception as exc:  # noqa: BLE001 - a plug-in of the user's must not stop the loop, whatever it raises
        return _failed(context, "agent_failed", f"{type(exc).__name__}: {exc}"[:300])
    nonsense = _nonsense(answer, context)
    if nonsense:
        return _failed(context, "agent_nonsense", nonsense)
    return Deliberated(
        context.own, tuple(replace(decision, controls_revision=controls_revision) for decision in answer)
    )


def _nonsense(answer: Sequence[Decision], context: Context) -> str | None:
    if not isinstance(answer, list | tuple):
        return f"decide returned {type(answer).__name__}, not a sequence of decisions"
    if len(answer) > DECISIONS_PER_EVENT_MAX:
        return f"{len(answer)} decisions on one event; at most {DECISIONS_PER_EVENT_MAX} are taken"
    ids = set()
    for decision in answer:
        if not isinstance(decision, Decision):
            return f"decide returned a {type(decision).__name__} among its decisions"
        if decision.agent != context.agent or decision.lineage.causation_id != context.event.lineage.message_id:
            return "a decision was not built with context.propose"
        ids.add(decision.lineage.message_id)
    return "two decisions have the same nth" if len(ids) < len(answer) else None


def _failed(context: Context, code: str, detail: str) -> Deliberated:
    reason = InvalidMessage(
        code,
        f"agent {context.agent} {context.agent_version}: {detail}",
        cure="Mend the agent; the event is kept here and the other agents went on.",
    )
    return Deliberated(None, (), reason)
