"""Event and row in, contexts out: what each agent that listens is shown."""

from collections.abc import Mapping
from typing import Any

import msgspec

from control_plane.catalogue import AgentInForce, Controls
from control_plane.causality import digest
from control_plane.messages import Context, Event, Subject
from state.rows import Row

_encoder = msgspec.msgpack.Encoder()


class Brief(msgspec.Struct, frozen=True, kw_only=True):
    """What every agent on this event shares: the views of the row's parts, and the scope for expressions."""

    event: Event
    subject: Subject
    now_ms: int
    views: Mapping[str, Mapping[str, Any]]
    scope: Any


def brief(row: Row, event: Event, subject: Subject, controls: Controls) -> Brief:
    """The row's parts as they are seen now, and one scope for all expressions on this event."""
    views = {
        name: controls.projections[name].view(part, row.now_ms)
        for name, part in row.parts.items()
        if name in controls.projections
    }
    scope = controls.expressions.scope(
        {
            "data": event.data,
            "rows": views,
            "subject": {"kind": subject.kind, "name": subject.name, "id": subject.id},
            "event": {"type": event.type, "source": event.lineage.source},
        }
    )
    return Brief(event=event, subject=subject, now_ms=row.now_ms, views=views, scope=scope)


def context_for(found: AgentInForce, row: Row, shared: Brief) -> Context:
    """What one agent is shown: only the parts that it declared that it reads."""
    agent = found.agent
    rows = {part: shared.views[part] for part in agent.reads if part in shared.views}
    return Context(
        lineage=shared.event.lineage.child(f"context/{agent.name}"),
        agent=agent.name,
        agent_version=agent.version,
        event=shared.event,
        subject=shared.subject,
        now_ms=shared.now_ms,
        rows=rows,
        ages_ms={part: shared.now_ms - row.folded_ms[part] for part in rows},
        own=row.own.get(agent.name),
        live=tuple(live.action_class for live in row.live),
        action_version=row.action_version,
        digest=digest(_encoder.encode((rows, row.action_version)).hex())[:16],
        scope=shared.scope,
    )
