"""Contexts in, decisions out. An agent that raises or answers nonsense is contained; the others go on."""

from typing import Annotated, Any, cast

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from control_plane.catalogue import AgentInForce
from control_plane.errors import InvalidMessage
from control_plane.messages import Context, Decision, Expectation
from control_plane.messages.decision import DECISIONS_PER_EVENT_MAX
from control_plane.messages.subject import check_target
from control_plane.ports.agent import AgentOverran, RememberingAgent

PROPOSAL_BYTES_MAX = 32 * 1024
"""Largest decision, as JSON: its parameters above all."""

BECAUSE_CHARS_MAX = 500
"""What an agent says beyond it is cut off."""

OVERRAN = "agent_overran"
"""The code of the one failure that an agent's answer does not follow from; replay takes it from the record."""


class _Proposal(Struct, frozen=True, kw_only=True):
    """What an agent says in a decision; all the rest follows from its context."""

    intent: str
    parameters: dict[str, Any]
    confidence: Annotated[float, Meta(ge=0.0, le=1.0)]
    because: str
    expects: Expectation | None
    still_when: str | None


_proposal_encoder = msgspec.json.Encoder()
_proposal_decoder = msgspec.json.Decoder(_Proposal)
_part_encoder = msgspec.msgpack.Encoder()
_part_decoder = msgspec.msgpack.Decoder()


class Deliberated(Struct, frozen=True):
    """What one agent made of its context: its own part of the row, its decisions, and when it wants to be woken; or why
    it failed."""

    own: object
    decisions: tuple[Decision, ...]
    failure: InvalidMessage | None = None
    wakes_ms: int | None = None


def deliberate(found: AgentInForce, context: Context, controls_revision: str) -> Deliberated:
    """Ask one agent. Its failure is a value: the event is kept as a dead letter, the agent's part stays."""
    wakes_ms, before = None, context.own
    try:
        if found.remembers:
            agent = cast(RememberingAgent, found.agent)
            context = replace(context, own=_as_stored(agent.remember(context)))
            wakes_ms = agent.wakes_at(context.own)
        answer = found.agent.decide(context)
    except AgentOverran as exc:
        return _failed(context, OVERRAN, str(exc))
    except (Exception, SystemExit) as exc:  # noqa: BLE001 - a plug-in of the user's must not stop the loop
        return _failed(context, "agent_failed", f"{type(exc).__name__}: {exc}"[:300])
    try:
        _check_answer(answer, context)
        decisions = tuple([as_recorded(decision, controls_revision, before) for decision in answer])
        return Deliberated(context.own, decisions, wakes_ms=wakes_ms)
    except (msgspec.MsgspecError, TypeError, ValueError, RecursionError, InvalidMessage) as exc:
        return _failed(context, "agent_nonsense", str(exc)[:300])


def _check_answer(answer: object, context: Context) -> None:
    """Raises ValueError when it is no short sequence of decisions on this context."""
    if not isinstance(answer, list | tuple):
        raise ValueError(f"decide returned {type(answer).__name__}, not a sequence of decisions")
    if len(answer) > DECISIONS_PER_EVENT_MAX:
        raise ValueError(f"{len(answer)} decisions on one event; at most {DECISIONS_PER_EVENT_MAX} are taken")
    ids = set()
    for decision in answer:
        if not isinstance(decision, Decision):
            raise ValueError(f"decide returned a {type(decision).__name__} among its decisions")
        if decision.agent != context.agent or decision.lineage.causation_id != context.event.lineage.message_id:
            raise ValueError("a decision was not built with context.propose")
        if decision.subject != context.event.subject:
            check_target(decision.subject)
        ids.add(decision.lineage.message_id)
    if len(ids) < len(answer):
        raise ValueError("two decisions have the same nth")


def as_recorded(decision: Decision, controls_revision: str, own: Any = None) -> Decision:
    """The decision as the log will hold it, so that what is judged is what can be read again; `own` is what the agent
    kept before. Raises ValidationError, TypeError or ValueError when an agent put something else into a field than
    belongs there."""
    said = _proposal_encoder.encode({name: getattr(decision, name) for name in _Proposal.__struct_fields__})
    if len(said) > PROPOSAL_BYTES_MAX:
        raise ValueError(f"a decision has {len(said)} bytes; at most {PROPOSAL_BYTES_MAX} are taken")
    proposal = _proposal_decoder.decode(said)
    return replace(
        decision,
        parameters=proposal.parameters,
        confidence=proposal.confidence,
        because=proposal.because[:BECAUSE_CHARS_MAX],
        expects=proposal.expects,
        controls_revision=controls_revision,
        own=own,
    )


def _as_stored(part: Any) -> Any:
    """What an agent keeps, as it is after a restart: never otherwise before one."""
    return None if part is None else _part_decoder.decode(_part_encoder.encode(part))


def _failed(context: Context, code: str, detail: str) -> Deliberated:
    reason = InvalidMessage(
        code,
        f"agent {context.agent} {context.agent_version}: {detail}",
        cure="Mend the agent; the event is kept here and the other agents went on.",
    )
    return Deliberated(None, (), reason)
