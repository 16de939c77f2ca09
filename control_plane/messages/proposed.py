"""What a slow agent made of its context, what a person wants, or what one subject's agents want of another. It enters
the loop as an event of type `decision.proposed`."""

from typing import Final

from msgspec import Struct

from control_plane.causality import Lineage
from control_plane.messages.decision import Decision

PERSON_PREFIX: Final = "person/"
"""How people are called among agents, as in `person/admin`; no agent's name holds a slash."""


class Origin(Struct, frozen=True, array_like=True, gc=False):
    """Where a proposal about another subject came from: a record of a partition's log, in the generation that the log
    had, and the how-manieth it was of that record. Of a tick, which steps many rows, also whose row it was.

    What comes from one partition comes in order, so a row that keeps the newest of each knows what it has had.
    """

    partition: int
    generation: int
    offset: int
    n: int
    subject: str = ""

    def is_after(self, other: "Origin") -> bool:
        """Whether it comes later in its partition. Rows of one tick are stepped in the order of their subjects."""
        return (self.generation, self.offset, self.subject, self.n) > (
            other.generation,
            other.offset,
            other.subject,
            other.n,
        )


class Proposed(Struct, frozen=True, kw_only=True):
    """A slow agent's answer to one context: its decisions, none of which may be fine, or the problem it had, with
    its code. A person answers nothing: then there is no context. Nor does an agent that speaks of another subject than
    it was shown; then there is an `origin`."""

    lineage: Lineage
    subject: str
    occurred_ms: int
    context_id: str
    agent: str
    agent_version: str
    decisions: tuple[Decision, ...] = ()
    problem: str = ""
    code: str = ""
    origin: Origin | None = None

    @property
    def by_person(self) -> bool:
        """Whether nobody asked for it."""
        return self.agent.startswith(PERSON_PREFIX)
