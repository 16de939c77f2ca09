"""What a slow agent asked outside before it decided, and what it was answered: from the audit store, asking nobody."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from control_plane.api import gathering
from control_plane.causality import Lineage
from control_plane.errors import InvalidMessage
from control_plane.messages import Decision, Invocation, Learnt, topics
from control_plane.messages.wire import decode, utc
from control_plane.ports.audit import Audit, Kept


class JournalItem(BaseModel):
    """One question, and its answer."""

    id: str
    topic: str
    partition: int
    offset: int
    recorded_at: datetime = Field(description="When it was asked.")
    tool: str
    request: dict[str, Any] = Field(description="What was asked. Keys are named in it, never written.")
    answer: dict[str, Any] | None = Field(description="Null where there is none, or it is not recorded yet.")
    code: str = Field(description="Why there is no answer; empty where there is one.")
    problem: str
    took_ms: int | None
    tokens: int | None
    cost_micros: int | None = Field(description="In millionths of the currency of the prices.")


async def journal_of(audit: Audit, decided: Kept, event: Kept | None) -> list[JournalItem]:
    """What the agent of a decision asked because of the event, in the order in which it asked."""
    if event is None:
        return []
    try:
        decision = decode(decided.message.body, Decision)
    except InvalidMessage:
        return []
    context_id = _context_id(event, decision)
    asked: list[tuple[Kept, Invocation]] = []
    learnt: dict[str, Learnt] = {}
    async for kept in _tools(audit, decided.message.correlation_id):
        try:
            if kept.message.type == "tool.invoke":
                asked.append((kept, decode(kept.message.body, Invocation)))
            else:
                found = decode(kept.message.body, Learnt)
                learnt.setdefault(found.invocation_id, found)
        except InvalidMessage:
            continue  # What is no record of ours explains nothing; /v1/flows shows it as it is.
    own = [(kept, found) for kept, found in asked if found.context_id == context_id]
    return [_item(kept, found, learnt.get(found.lineage.message_id)) for kept, found in own]


def _tools(audit: Audit, correlation_id: str) -> AsyncIterator[Kept]:
    return gathering.flow(audit, correlation_id, topics.TOOLS)


def _context_id(event: Kept, decision: Decision) -> str:
    """Contexts are derived from their event, as all that follows from it."""
    root = Lineage.root(event.message.source, event.message.message_id)
    return root.child(f"context/{event.message.subject}/{decision.agent}").message_id


def _item(kept: Kept, asked: Invocation, learnt: Learnt | None) -> JournalItem:
    return JournalItem(
        id=asked.lineage.message_id,
        topic=kept.message.topic,
        partition=kept.message.partition,
        offset=kept.message.offset,
        recorded_at=utc(kept.message.recorded_ms),
        tool=asked.tool,
        request=asked.request,
        answer=None if learnt is None else learnt.answer,
        code="" if learnt is None else learnt.code,
        problem="" if learnt is None else learnt.problem,
        took_ms=None if learnt is None else learnt.took_ms,
        tokens=None if learnt is None else learnt.usage.tokens,
        cost_micros=None if learnt is None else learnt.usage.cost_micros,
    )
