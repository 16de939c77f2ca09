"""Many conditions on one scope: which of them hold? Most events meet none, and one evaluation says so for a hundred.

Conditions of the same variables are joined by `||`, in a tree: where the whole does not hold, none of its parts does;
where it holds or cannot be evaluated, the parts are asked. So what a condition costs alone it costs only when it may
hold.
"""

from collections.abc import Sequence
from typing import Any, Final

from control_plane.adapters.cel.program import FAULTS, CelProgram, CelScope, compiled
from control_plane.ports.expressions import Scope, Sifted

JOINED_MAX: Final = 128
"""Conditions in one evaluation; it bounds how long and how deep the joined text becomes."""

FAN_OUT: Final = 16
"""Parts that are asked when a whole may hold."""


class CelSieve:
    """The conditions of one event type. What they read is looked up at once, before the first evaluation."""

    def __init__(self, programs: Sequence[CelProgram]) -> None:
        self._needs = tuple({need.name: need for program in programs for need in program.needs}.values())
        self._groups = [_Group(names, members) for names, members in _by_names(programs).items()]

    def sift(self, scope: Scope) -> Sifted:
        """The positions of the conditions that hold, in order, and how many could not be evaluated."""
        assert isinstance(scope, CelScope), "sieves and scopes come from one adapter"
        scope.provide(self._needs)
        holding: list[int] = []
        missed = 0
        for group in self._groups:
            missed += group.sift(scope, holding)
        holding.sort()
        return Sifted(holding, missed)


class _Leaf:
    """One condition, at all the positions where it stands."""

    __slots__ = ("_execute", "positions", "text")

    def __init__(self, program: CelProgram) -> None:
        self.text: str = program.flat
        self.positions: list[int] = []
        self._execute = program.execute

    def sift(self, context: Any, holding: list[int]) -> int:
        try:
            if self._execute(context) is True:
                holding += self.positions
        except FAULTS:
            return len(self.positions)
        return 0


class _Branch:
    """Conditions that are asked together."""

    __slots__ = ("_execute", "_parts", "text")

    def __init__(self, parts: "Sequence[_Leaf | _Branch]") -> None:
        # A line break ends a comment, which would swallow the bracket.
        self.text: str = " || ".join(f"({part.text}\n)" for part in parts)
        self._execute = compiled(self.text).execute
        self._parts = parts

    def sift(self, context: Any, holding: list[int]) -> int:
        try:
            if self._execute(context) is False:
                return 0
        except FAULTS:
            pass  # One of them met a wrong type; the others may hold all the same.
        return sum([part.sift(context, holding) for part in self._parts])


class _Group:
    """Conditions that read the same variables and, if `names` is not empty, cannot hold unless all of these are
    there."""

    def __init__(self, names: frozenset[str], members: Sequence[_Leaf]) -> None:
        self._names = names
        self._size = sum(len(leaf.positions) for leaf in members)
        self._parts = [_joined(members[at : at + JOINED_MAX]) for at in range(0, len(members), JOINED_MAX)]

    def sift(self, scope: CelScope, holding: list[int]) -> int:
        if scope.absent and not self._names.isdisjoint(scope.absent):
            return self._size
        missed = 0
        for part in self._parts:
            missed += part.sift(scope.context, holding)
        return missed


def _by_names(programs: Sequence[CelProgram]) -> dict[frozenset[str], list[_Leaf]]:
    """The conditions, each once, by the variables that they cannot do without."""
    leaves: dict[str, _Leaf] = {}
    groups: dict[frozenset[str], list[_Leaf]] = {}
    for position, program in enumerate(programs):
        leaf = leaves.get(program.source)
        if leaf is None:
            leaf = leaves[program.source] = _Leaf(program)
            groups.setdefault(program.demands, []).append(leaf)
        leaf.positions.append(position)
    return groups


def _joined(parts: "Sequence[_Leaf | _Branch]") -> "_Leaf | _Branch":
    if len(parts) == 1:
        return parts[0]
    if len(parts) > FAN_OUT:
        parts = [_joined(parts[at : at + FAN_OUT]) for at in range(0, len(parts), FAN_OUT)]
    return _Branch(parts)
