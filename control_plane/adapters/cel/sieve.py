"""Many conditions on one scope: which of them hold? Most events meet none, and one question says so for all.

Conditions that hang on comparing one variable with a literal are looked up. The others are joined by `||`, in a tree:
where the whole does not hold, none of its parts does; where it holds or cannot be evaluated, the parts are asked. So
what a condition costs alone it costs only when it may hold.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from typing import Any, Final

from control_plane.adapters.cel.anchors import EXACT_MAX
from control_plane.adapters.cel.program import FAULTS, CelProgram, CelScope, compiled
from control_plane.ports.expressions import Scope, Sifted

JOINED_MAX: Final = 128
"""Conditions in one evaluation; it bounds how long and how deep the joined text becomes."""

FAN_OUT: Final = 16
"""Parts that are asked when a whole may hold."""

ALONE_COSTS: Final = 4
"""Asking for one condition takes about as long as asking for so many of them together."""


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

    __slots__ = ("_execute", "anchor", "positions", "text")

    def __init__(self, program: CelProgram) -> None:
        self.anchor = program.anchor
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


class _Equal:
    """Conditions that hold only while one variable equals a literal, by that literal."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._leaves: dict[str | float, list[_Leaf]] = {}

    def add(self, literal: str | float, leaf: _Leaf) -> None:
        self._leaves.setdefault(literal, []).append(leaf)

    def sift(self, scope: CelScope, holding: list[int]) -> int:
        value = scope.values[self._name]
        leaves: Iterable[_Leaf] = ()
        if value.__class__ is str or _is_exact(value):
            leaves = self._leaves.get(value, ())
        elif _is_number(value):
            leaves = [leaf for some in self._leaves.values() for leaf in some]
        # Anything else equals none of them.
        return sum([leaf.sift(scope.context, holding) for leaf in leaves])


class _Limits:
    """Conditions that hold only while one variable is on one side of a number, in the order of these. `whole` ones are
    nothing but that comparison."""

    def __init__(self, name: str, compares: str, whole: bool) -> None:
        self._name = name
        self._whole = whole
        self._below_value = compares in (">", ">=")
        self._bisect = bisect_right if compares in (">=", "<") else bisect_left
        self._limits: list[float] = []
        self._leaves: list[_Leaf] = []
        self._tree: list[_Leaf | _Branch] = []

    def add(self, literal: float, leaf: _Leaf) -> None:
        at = bisect_right(self._limits, literal)
        self._limits.insert(at, literal)
        self._leaves.insert(at, leaf)

    def close(self) -> None:
        """All were added."""
        self._tree = [] if self._whole else _trees(self._leaves)

    def sift(self, scope: CelScope, holding: list[int]) -> int:
        value = scope.values[self._name]
        if not _is_number(value):
            return sum([len(leaf.positions) for leaf in self._leaves])
        if not _is_exact(value):
            return sum([leaf.sift(scope.context, holding) for leaf in self._leaves])
        cut = self._bisect(self._limits, value)
        found = self._leaves[:cut] if self._below_value else self._leaves[cut:]
        if self._whole:
            for leaf in found:
                holding += leaf.positions
            return 0
        few = len(found) * ALONE_COSTS < len(self._leaves)
        return sum([part.sift(scope.context, holding) for part in (found if few else self._tree)])


def _is_number(value: Any) -> bool:
    return type(value) is float or type(value) is int  # No bool: to the library it is no number.


def _is_exact(value: Any) -> bool:
    """Whether comparing the value with an anchor's number means the same here and in the library."""
    return _is_number(value) and -EXACT_MAX <= value <= EXACT_MAX


class _Group:
    """Conditions that read the same variables and, if `names` is not empty, cannot hold unless all of these are
    there."""

    def __init__(self, names: frozenset[str], members: Sequence[_Leaf]) -> None:
        self._names = names
        self._size = sum(len(leaf.positions) for leaf in members)
        self._equal: dict[str, _Equal] = {}
        self._limits: dict[tuple[str, str, bool], _Limits] = {}
        self._parts = _trees([leaf for leaf in members if not self._anchor(leaf)])
        for limits in self._limits.values():
            limits.close()
        self._anchored: tuple[_Equal | _Limits, ...] = (*self._equal.values(), *self._limits.values())

    def sift(self, scope: CelScope, holding: list[int]) -> int:
        if scope.absent and not self._names.isdisjoint(scope.absent):
            return self._size
        missed = 0
        for anchored in self._anchored:
            missed += anchored.sift(scope, holding)
        for part in self._parts:
            missed += part.sift(scope.context, holding)
        return missed

    def _anchor(self, leaf: _Leaf) -> bool:
        anchor = leaf.anchor
        if anchor is None:
            return False
        name, compares, literal, whole = anchor
        if compares == "==":
            self._equal.setdefault(name, _Equal(name)).add(literal, leaf)
        elif isinstance(literal, str):
            return False
        else:
            self._limits.setdefault((name, compares, whole), _Limits(name, compares, whole)).add(literal, leaf)
        return True


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


def _trees(leaves: Sequence[_Leaf]) -> "list[_Leaf | _Branch]":
    return [_joined(leaves[at : at + JOINED_MAX]) for at in range(0, len(leaves), JOINED_MAX)]


def _joined(parts: "Sequence[_Leaf | _Branch]") -> "_Leaf | _Branch":
    if len(parts) == 1:
        return parts[0]
    if len(parts) > FAN_OUT:
        parts = [_joined(parts[at : at + FAN_OUT]) for at in range(0, len(parts), FAN_OUT)]
    return _Branch(parts)
