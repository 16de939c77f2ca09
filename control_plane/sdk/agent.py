"""The base class of Python agents."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from control_plane.messages import Context, Decision


class _Declared(ABC):
    """What every agent declares."""

    name: str
    """Unique in the workspace."""
    version: str
    """Pinned in each decision; raise it when the behaviour changes."""
    listens_to: tuple[str, ...]
    """Event types, exact."""
    reads: tuple[str, ...] = ()
    """Row parts that the context shows in `context.rows`."""
    intents: tuple[str, ...]
    """All that it may ever propose."""


class Agent(_Declared):
    """Subscribe, reason, publish. An agent holds no state, calls no other agent and acts on nothing.

    `decide` must be pure: it may use nothing but its context, because the loop runs it again in a replay and compares.
    """

    @abstractmethod
    def decide(self, context: Context) -> Sequence[Decision]:
        """Proposals for this event, built with `context.propose`; none is fine."""


class SlowAgent(_Declared):
    """An agent that takes its time, in a consumer group of its own; the loop goes on meanwhile.

    It is sent one context of a subject at a time. Its answer is judged on the row as it is then, so a decision should
    say what must still hold (`still_when`). A replay takes the answer from the log.
    """

    @abstractmethod
    async def decide(self, context: Context) -> Sequence[Decision]:
        """Proposals for this event, built with `context.propose`; none is fine."""
