"""What a slow agent made of its context, or what a person wants. It enters the loop as an event of type
`decision.proposed`."""

from typing import Final

from msgspec import Struct

from control_plane.causality import Lineage
from control_plane.messages.decision import Decision

PERSON_PREFIX: Final = "person/"
"""How people are called among agents, as in `person/admin`; no agent's name holds a slash."""


class Proposed(Struct, frozen=True, kw_only=True):
    """A slow agent's answer to one context: its decisions, none of which may be fine, or the problem it had, with
    its code. A person
    answers nothing: then there is no context."""

    lineage: Lineage
    subject: str
    occurred_ms: int
    context_id: str
    agent: str
    agent_version: str
    decisions: tuple[Decision, ...] = ()
    problem: str = ""
    code: str = ""

    @property
    def by_person(self) -> bool:
        """Whether nobody asked for it."""
        return self.agent.startswith(PERSON_PREFIX)
