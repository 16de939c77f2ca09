"""Who proposes. An agent holds no state, calls no other agent and acts on nothing."""

from collections.abc import Sequence
from typing import Any, Protocol

from msgspec import Struct

from control_plane.messages import Context, Decision
from control_plane.ports.expressions import Program

SLOW_ANSWER_MAX_MS = 300_000
"""How long a slow agent's answer is waited for; after that the agent is asked anew and the older answer superseded."""

ASKS_EVERY_MAX_MS = 86_400_000
"""Longest time for which a slow agent may leave a subject alone after it was asked about it."""


class Silence(Struct, frozen=True, kw_only=True):
    """Why an agent proposed nothing at one moment.

    `clause` is the key of its definition that kept it silent, `because` a sentence for people, `state` what it was
    after that moment. `read` holds what its condition read, by path, and `missing` the paths where nothing was.
    `wait_ms` is how long it would have gone on waiting if nothing else had come; None when only an event could have
    ended it.
    """

    agent: str
    clause: str
    because: str
    state: str
    read: dict[str, Any]
    missing: tuple[str, ...] = ()
    wait_ms: int | None = None


class AgentOverran(Exception):
    """An agent took longer than it may. Raised by what limits it; a replay takes it from the record."""


class Agent(Protocol):
    """One agent in force. `decide` is pure: the same context gives the same decisions."""

    name: str
    version: str
    listens_to: tuple[str, ...]
    """Event types, exact."""
    reads: tuple[str, ...]
    """Row parts that its contexts hold."""
    intents: tuple[str, ...]
    """All that it may ever propose."""

    def decide(self, context: Context) -> Sequence[Decision]:
        """What the agent proposes on this event; built with `context.propose`."""


class NoDecision(Exception):
    """A slow agent could not decide. `code` is for metrics and rules, `detail` for people; both are on the log."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class SlowAgent(Protocol):
    """An agent that decides apart. The same declarations as `Agent`, but `decide` is awaited.

    It may declare further, each with a default: `group`, the consumer group that it shares with others (`agents`);
    `wakes_when`, a compiled expression without which it is not asked; `asks_every_ms`, within which it is asked about
    one subject once (0); `decide_timeout_s` and `in_flight_max`, how long it may take and how often at once.
    """

    name: str
    version: str
    listens_to: tuple[str, ...]
    reads: tuple[str, ...]
    intents: tuple[str, ...]

    async def decide(self, context: Context) -> Sequence[Decision]:
        """What the agent proposes on this event. Raises NoDecision when it cannot say."""


class RememberingAgent(Agent, Protocol):
    """An agent that keeps a part of the row of its own, such as a rule's firing state.

    The part is folded purely, and then shown to `decide` as `context.own`. It must be built of None, bool, int, float,
    str, bytes, lists and dicts; None keeps nothing.
    """

    wakes_when: Program | None
    """While the agent keeps nothing of a subject, it is not shown events on which this does not hold."""

    def remember(self, context: Context) -> Any:
        """The part after this event or tick; `context.own` is the part before it."""

    def why_not(self, context: Context) -> Silence | None:
        """Why the agent proposes nothing on this event or tick; None when it does. `context.own` is the part before
        it. For people who ask later: the loop never does."""

    def wakes_at(self, kept: Any) -> int | None:
        """When an agent that keeps this wants to be woken by a tick, in log time; None when only events concern it."""
