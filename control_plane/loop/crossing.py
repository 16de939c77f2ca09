"""Decisions about other subjects: out of a step as proposals, and into the other's row, once each.

No step writes two subjects. Says nothing about whether such a decision is allowed: that is judged on the other's row.
"""

from typing import Final

from msgspec.structs import replace

from control_plane.causality.lineage import HOP_COUNT_MAX, trail_step
from control_plane.loop.arrival import Arrival
from control_plane.messages import Decision, Event, Proposed, Reason
from control_plane.messages.event import TICK
from control_plane.messages.proposed import Origin
from control_plane.messages.wire import ms_of
from state.rows import Row

ORIGINS_PER_ROW_MAX: Final = 256
"""Partitions that a row takes proposals from, some 16 bytes each. What comes from one more is refused: the row could
not tell later that it has had it."""

ORIGINS_FULL: Final = Reason(
    "origins_full",
    f"proposals for the subject come from more than {ORIGINS_PER_ROW_MAX} partitions",
    "guard.concurrency",
)


def leaves(decision: Decision, row: Row) -> bool:
    """Whether a decision is about another subject and may still go there: each crossing is a round of the loop."""
    return decision.subject != row.subject and decision.lineage.hop_count < HOP_COUNT_MAX


def proposed(decision: Decision, event: Event, arrival: Arrival, row: Row, n: int) -> Proposed:
    """A decision on its way to another subject's partition, the n-th of this step."""
    step = trail_step(decision.agent, decision.subject, decision.intent)
    by_tick = event.type == TICK
    fact_ms = ms_of(event.occurred_at) if decision.fact_ms is None else decision.fact_ms
    return Proposed(
        # Of one tick many rows speak.
        lineage=event.lineage.returning(f"proposed/{row.subject}/{decision.agent}/{n}/{decision.subject}", step),
        subject=decision.subject,
        occurred_ms=row.now_ms,
        context_id="",
        agent=decision.agent,
        agent_version=decision.agent_version,
        decisions=(replace(decision, fact_ms=fact_ms),),
        origin=Origin(arrival.partition, arrival.generation, arrival.offset, n, row.subject if by_tick else ""),
    )


def with_origin(row: Row, origin: Origin) -> Row | None:
    """The row that has had a proposal from elsewhere; None when it has had this or a later one of that partition."""
    known = row.origins.get(origin.partition)
    if known is not None and not origin.is_after(known):
        return None
    return replace(row, origins={**row.origins, origin.partition: origin})


def is_full(row: Row, origin: Origin) -> bool:
    """Whether the row has no room for one more partition."""
    return origin.partition not in row.origins and len(row.origins) >= ORIGINS_PER_ROW_MAX
