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

    Whatever it asks outside it asks through `context.journal` (`control_plane.sdk.Journal`): then it is written down
    before it is used, and a context that comes again after a crash is answered from there.
    """

    group: str | None = None
    """The consumer group that it shares with others; without one it shares that of all slow agents that name none."""
    asks_every_ms: int = 0
    """Within so much time it is asked about one subject once."""
    decide_timeout_s: float = 60.0
    """How long one `decide` may take."""
    in_flight_max: int = 8
    """Contexts that it is at work on at once in one process."""

    @abstractmethod
    async def decide(self, context: Context) -> Sequence[Decision]:
        """Proposals for this event, built with `context.propose`; none is fine. Raises NoDecision to say why not."""
