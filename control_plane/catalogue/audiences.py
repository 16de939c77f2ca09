"""Who listens to one event type, and who of them need be shown an event: found out without asking each.

Agents that keep nothing of a subject and whose condition does not hold are passed by; what they cost an event is a
share of one evaluation.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct

from control_plane.ports.agent import Agent
from control_plane.ports.expressions import ExpressionMiss, Expressions, Program, Scope


class AgentInForce(Struct, frozen=True, kw_only=True):
    """An agent with the revision of its definition.

    `remembers` says whether it keeps a part of the row, `slow` whether it decides apart, in a group of its own. While
    it keeps nothing of a subject it need not see events on which its `gate` does not hold. A slow one is asked about a
    subject once within `asks_every_ms`.
    """

    agent: Agent
    revision: str
    remembers: bool
    slow: bool = False
    gate: Program | None = None
    asks_every_ms: int = 0


class Audience:
    """The agents of one event type, in the order of their names."""

    def __init__(self, agents: Iterable[AgentInForce], expressions: Expressions) -> None:
        found = tuple(agents)
        self._slow = tuple(each for each in found if each.slow)
        self.fast = tuple(each for each in found if not each.slow)
        gates = [(position, each.gate) for position, each in enumerate(self.fast) if each.gate is not None]
        self._gated = {self.fast[position].agent.name: position for position, _ in gates}
        self._ungated = [position for position, each in enumerate(self.fast) if each.gate is None]
        self._position_of_gate = [position for position, _ in gates]
        self._sieve = expressions.sieve([gate for _, gate in gates]) if gates else None

    def __bool__(self) -> bool:
        return bool(self._slow or self.fast)

    def slow(self, scope: Scope) -> tuple[AgentInForce, ...]:
        """The slow agents that are asked about an event: there is no use in a context that nobody needs."""
        return (
            tuple([each for each in self._slow if each.gate is None or _holds(each.gate, scope)]) if self._slow else ()
        )

    def awake(self, own: Mapping[str, Any], scope: Scope) -> tuple[Iterable[AgentInForce], int]:
        """The agents that are shown an event, and how many are not for want of a field that they ask for. `own` is what
        agents keep of the subject."""
        if self._sieve is None:
            return self.fast, 0
        holding, missed = self._sieve.sift(scope)
        shown = {*self._ungated, *(self._position_of_gate[gate] for gate in holding)}
        if own:
            shown.update([self._gated[name] for name in own if name in self._gated])
        return [self.fast[position] for position in sorted(shown)], missed


def _holds(gate: Program, scope: Scope) -> bool:
    try:
        return gate.evaluate(scope) is True
    except ExpressionMiss:
        return False
