"""How the members of fleets stand in one partition, as of the record that is being taken; and fleets as a whole.

Sums are kept, not made: a row that stands otherwise than before moves them. They follow from the rows as of one
record, so records of members must be taken in the order of their offsets. Rows that a crash left ahead of the log are
counted as they were, and move the sums where their records come again.
"""

from collections.abc import Iterator, Mapping, Sequence

from control_plane.catalogue import Fleets
from control_plane.messages.summary import FleetCount, FleetSummary
from control_plane.partition.told import Told
from state.rows import Standing, StandingAt


class FleetSums:
    """The fleets of one partition."""

    def __init__(self, next_offset: int, fleets: Fleets | None = None) -> None:
        """The partition is taken at `next_offset`; without `fleets` it has not adopted any controls."""
        self._next_offset = next_offset
        self._fleets = fleets
        self._standings: dict[str, tuple[StandingAt, ...]] = {}
        self._sums: dict[str, list[int]] = {}
        self._ahead: list[tuple[int, str, Standing | None]] = []
        self._ahead_until = -1
        self._acknowledged_below = next_offset
        if fleets is not None:
            self._count_anew(fleets)

    def is_behind(self, offset: int) -> bool:
        """Whether a crash left rows ahead of this record: then all records are taken in the order of their offsets."""
        return offset <= self._ahead_until

    @property
    def has_rows_ahead(self) -> bool:
        """Whether rows that a crash left ahead of the log are not counted yet as they are."""
        return bool(self._ahead)

    def found(self, subject: str, applied: int, standings: Sequence[StandingAt]) -> None:
        """A stored row, while the partition is being taken."""
        if applied >= self._next_offset:
            self._ahead_until = max(self._ahead_until, applied)
        before = [(offset, standing) for offset, standing in standings if offset < self._next_offset]
        if before:
            self.count(before[-1][0], subject, before[-1][1])
        later = [(offset, subject, standing) for offset, standing in standings if offset >= self._next_offset]
        if later:
            # The next one last, so that it is the first to be taken off.
            self._ahead = sorted([*self._ahead, *later], key=_place, reverse=True)

    def adopt(self, fleets: Fleets) -> None:
        """Other controls are in force from here on."""
        before, self._fleets = self._fleets, fleets
        if before is None or before.revisions != fleets.revisions:
            self._count_anew(fleets)

    def move_to(self, offset: int, subject: str) -> None:
        """All before a record, and before a subject on it, is counted."""
        while self._ahead and _place(self._ahead[-1]) < (offset, subject):
            at, ahead, standing = self._ahead.pop()
            self.count(at, ahead, standing)

    def count(self, offset: int, subject: str, standing: Standing | None) -> None:
        """A subject stands like this from a record on."""
        known = self._standings.get(subject, ())
        before = known[-1][1] if known else None
        if before == standing:
            return
        self._standings[subject] = (*self._needed(known), (offset, standing))
        if self._fleets is not None:
            self._move(self._fleets, subject, before, standing)

    def standings(self, subject: str) -> tuple[StandingAt, ...]:
        """How a subject stands, and how it stood as long as records may come again; as its row is stored."""
        known = self._needed(self._standings.get(subject, ()))
        if len(known) == 1 and known[0][1] is None:
            del self._standings[subject]
            return ()
        return known

    def acknowledged(self, next_offset: int) -> None:
        """No record below this offset comes again."""
        self._acknowledged_below = next_offset

    def revision(self, fleet: str) -> str | None:
        """The revision of a fleet that is in force; None when there is none of this name."""
        return self._fleets.revisions.get(fleet) if self._fleets is not None else None

    def names(self) -> Sequence[str]:
        """The fleets in force."""
        return tuple(self._sums)

    def counts(self) -> dict[str, FleetCount]:
        """Every fleet, as others are told of it."""
        assert self._fleets is not None, "only a partition with controls is asked"
        return {name: _count(revision, self._sums[name]) for name, revision in self._fleets.revisions.items()}

    def sums(self, fleet: str) -> Sequence[int]:
        """Size, healthy, in flight and down of a fleet in force."""
        return self._sums[fleet]

    def _needed(self, known: tuple[StandingAt, ...]) -> tuple[StandingAt, ...]:
        """The standings from the last one on that no record comes again for."""
        below = [at for at, (offset, _) in enumerate(known) if offset < self._acknowledged_below]
        return known[below[-1] :] if below else known

    def _count_anew(self, fleets: Fleets) -> None:
        self._sums = {name: [0, 0, 0, 0] for name in fleets.revisions}
        for subject, standings in self._standings.items():
            self._move(fleets, subject, None, standings[-1][1])

    def _move(self, fleets: Fleets, subject: str, before: Standing | None, after: Standing | None) -> None:
        for fleet in fleets.of(subject):
            sums = self._sums[fleet.name]
            for at, (old, new) in enumerate(zip(fleet.counts(before), fleet.counts(after), strict=True)):
                sums[at] += new - old


class KnownFleets(Mapping[str, FleetSummary]):
    """Whole fleets at one record: this partition as it is, the others as they were last told.

    Added up when asked, so it is asked while the record is being taken and not later.
    """

    __slots__ = ("_now_ms", "_sums", "_told")

    def __init__(self, sums: FleetSums, told: Told, now_ms: int) -> None:
        self._sums = sums
        self._told = told
        self._now_ms = now_ms

    def __getitem__(self, fleet: str) -> FleetSummary:
        revision = self._sums.revision(fleet)
        if revision is None:
            raise KeyError(fleet)
        size, healthy, in_flight, down = self._sums.sums(fleet)
        others = self._told.elsewhere(fleet, revision, self._now_ms)
        if isinstance(others, str):
            return FleetSummary(unknown=others)
        return FleetSummary(
            size=size + sum([other.size for other in others]),
            healthy=healthy + sum([other.healthy for other in others]),
            in_flight=in_flight + sum([other.in_flight for other in others]),
            down=down + sum([other.down for other in others]),
            here=size,
            untold=down - self._told.of_itself(fleet, revision, down),
        )

    def __iter__(self) -> Iterator[str]:
        return iter(self._sums.names())

    def __len__(self) -> int:
        return len(self._sums.names())


def _place(ahead: tuple[int, str, Standing | None]) -> tuple[int, str]:
    return ahead[0], ahead[1]


def _count(revision: str, sums: Sequence[int]) -> FleetCount:
    size, healthy, in_flight, down = sums
    return FleetCount(revision=revision, size=size, healthy=healthy, in_flight=in_flight, down=down)
