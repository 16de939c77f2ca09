"""What is wrong in a user's files, gathered: a start names all flaws at once, not the first one only."""

from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Protocol

from control_plane.errors import Flaw

FLAWS_MAX = 200
"""A file of another kind altogether would bury the terminal; what goes beyond is counted."""

SHOWN_CHARS_MAX = 60


class Place(Protocol):
    """Somewhere in a file. Lines and columns count from 1; 0 means the whole file."""

    @property
    def line(self) -> int: ...

    @property
    def column(self) -> int: ...


class Flaws:
    """A growing list of flaws, with what was only worth a warning beside it."""

    def __init__(self) -> None:
        self.warnings: list[Flaw] = []
        self._found: list[Flaw] = []
        self._left_out = 0

    def add(self, file: str, place: Place | None, problem: str, cure: str) -> None:
        """One more thing that is wrong."""
        self.extend([flaw_at(file, place, problem, cure)])

    def warn(self, file: str, place: Place | None, problem: str, cure: str) -> None:
        """One more thing that may be meant, but looks odd."""
        self.warnings.append(flaw_at(file, place, problem, cure))

    def extend(self, flaws: Iterable[Flaw]) -> None:
        """What somebody else has found."""
        for flaw in flaws:
            if len(self._found) < FLAWS_MAX:
                self._found.append(flaw)
            else:
                self._left_out += 1

    def __len__(self) -> int:
        return len(self._found) + self._left_out

    def __iter__(self) -> Iterator[Flaw]:
        """All flaws by file and line; a last one counts those that were left out."""
        yield from sorted(self._found, key=lambda flaw: (flaw.file, flaw.line, flaw.column))
        if self._left_out:
            problem = f"{self._left_out} more flaws are not shown"
            yield Flaw(file="workspace", line=0, column=0, problem=problem, cure="Mend those above first.")


def flaw_at(file: str, place: Place | None, problem: str, cure: str) -> Flaw:
    """One flaw at a place, or of a whole file."""
    line, column = (place.line, place.column) if place is not None else (0, 0)
    return Flaw(file=file, line=line, column=column, problem=problem, cure=cure)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that was probably meant."""
    found = get_close_matches(name, sorted(known), n=1, cutoff=0.6)
    return found[0] if found else None


def did_you_mean(name: str, known: Iterable[str], otherwise: str) -> str:
    """The cure for an unknown name: the nearest known one, or else what to do."""
    names = sorted(known)
    found = nearest(name, names)
    if found is not None:
        return f"Did you mean {found}?"
    listed = f" Known: {', '.join(names)}." if 0 < len(names) <= 12 else ""
    return f"{otherwise}{listed}"


def shown(value: object) -> str:
    """A value as a sentence can hold it."""
    text = repr(value)
    return text if len(text) <= SHOWN_CHARS_MAX else text[: SHOWN_CHARS_MAX - 3] + "..."
