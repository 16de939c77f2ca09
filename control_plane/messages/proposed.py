"""What a slow agent made of its context. It enters the loop as an event of type `decision.proposed`."""

from msgspec import Struct

from control_plane.causality import Lineage
from control_plane.messages.decision import Decision


class Proposed(Struct, frozen=True, kw_only=True):
    """A slow agent's answer to one context: its decisions, none of which may be fine, or the problem it had."""

    lineage: Lineage
    subject: str
    occurred_ms: int
    context_id: str
    agent: str
    agent_version: str
    decisions: tuple[Decision, ...] = ()
    problem: str = ""
