"""Which subjects count together, as it is in force: membership by subject, health by what its row holds.

Counts nothing: `control_plane.partition.fleets` does, from what a row says of itself.
"""

from collections.abc import Callable, Collection, Iterable, Sequence

from msgspec import Struct

from control_plane.errors import InvalidMessage
from control_plane.messages import Subject
from control_plane.messages.event import SUBJECT_REGISTERED
from control_plane.ports.expressions import ExpressionMiss, Expressions, Program, Scope
from state.projections import Projection
from state.rows import Standing

SUBJECTS_REMEMBERED_MAX = 100_000
"""Subjects whose fleets are not worked out again; beyond it all are forgotten at once."""

SMALL_FLEET_BELOW = 10
"""In a smaller fleet a share says little: one member at a time is acted on, whatever the share."""

NOT_COUNTED = (0, 0, 0, 0)


class Fleet(Struct, frozen=True, kw_only=True):
    """One fleet. `revision` names its definition; without `healthy` every member counts as healthy."""

    name: str
    revision: str
    members: Program
    healthy: Program | None = None

    def counts(self, standing: Standing | None) -> tuple[int, int, int, int]:
        """What a member adds to the fleet's size, to its healthy, in flight and down members."""
        if standing is None:
            return NOT_COUNTED
        healthy = self.healthy is None or self.revision in standing.healthy
        return 1, int(healthy), int(standing.in_flight), int(standing.in_flight or not healthy)


class Fleets:
    """The fleets of one revision of the controls. Built once, never changed but for what it remembers."""

    def __init__(
        self,
        fleets: Iterable[Fleet],
        expressions: Expressions,
        projections: Collection[Projection] = (),
        *,
        are_read: bool = False,
    ) -> None:
        """`are_read` says that rules read them: then what is decided on any subject may hang on all members."""
        self.are_read = are_read
        self.all: tuple[Fleet, ...] = tuple(sorted(fleets, key=lambda fleet: fleet.name))
        self.revisions = {fleet.name: fleet.revision for fleet in self.all}
        self.judged_on = _judged_on(self.all, projections)
        """Event types after which a member's health is judged again."""
        self._expressions = expressions
        self._of: dict[str, tuple[Fleet, ...]] = {}

    def __bool__(self) -> bool:
        return bool(self.all)

    def of(self, subject: str) -> tuple[Fleet, ...]:
        """The fleets that a subject is a member of, registered or not, in the order of their names."""
        if not self.all:
            return ()
        found = self._of.get(subject)
        if found is None:
            if len(self._of) >= SUBJECTS_REMEMBERED_MAX:
                self._of.clear()
            found = self._of[subject] = self._members_of(subject)
        return found

    def health_of(self, subject: str, scope_of: Callable[[], Scope]) -> tuple[str, ...]:
        """The revisions of those of the subject's fleets whose `healthy` holds on a scope with its rows, which is made
        if it is needed. A miss holds nowhere."""
        judged = [fleet for fleet in self.of(subject) if fleet.healthy is not None]
        if not judged:
            return ()
        scope = scope_of()
        return tuple([fleet.revision for fleet in judged if _holds(fleet.healthy, scope)])

    def _members_of(self, subject: str) -> tuple[Fleet, ...]:
        try:
            found = Subject.parse(subject)
        except InvalidMessage:
            return ()  # It will be a dead letter.
        scope = self._expressions.scope({"subject": _as_variable(found)})
        return tuple(fleet for fleet in self.all if _holds(fleet.members, scope))


def _judged_on(fleets: Sequence[Fleet], projections: Collection[Projection]) -> frozenset[str]:
    paths = {path for fleet in fleets if fleet.healthy is not None for path in fleet.healthy.paths}
    parts = {path[1] for path in paths if path[0] == "rows" and len(path) > 1}
    every = ("rows",) in paths
    types = {t for projection in projections if every or projection.name in parts for t in projection.on}
    return frozenset(types | {SUBJECT_REGISTERED}) if paths else frozenset()


def _holds(program: Program | None, scope: object) -> bool:
    assert program is not None
    try:
        return program.evaluate(scope) is True
    except ExpressionMiss:
        return False


def _as_variable(subject: Subject) -> dict[str, str]:
    return {"kind": subject.kind, "name": subject.name, "id": subject.id}
