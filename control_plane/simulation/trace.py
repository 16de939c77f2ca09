"""What happened in one run: a hash over all of it, and the lines that a person would want to read.

The hash is the proof that one seed on one commit is one run.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from hashlib import blake2b

from msgspec import Struct

LINES_MAX = 20_000


class Line(Struct, frozen=True, gc=False):
    """One thing that happened, `at_us` microseconds after the run began. `about` is the subject, if it has one."""

    at_us: int
    who: str
    what: str
    about: str = ""

    def text(self) -> str:
        """For people."""
        about = f"{self.about}: " if self.about else ""
        return f"{self.at_us / 1e6:10.3f} s  {self.who:<12} {about}{self.what}"


class Trace:
    """Of one run. `faults` counts what befell it, by kind."""

    def __init__(self, now_us: Callable[[], int]) -> None:
        self.lines: list[Line] = []
        self.faults: Counter[str] = Counter()
        self._now_us = now_us
        self._hash = blake2b(digest_size=16)

    @property
    def hash(self) -> str:
        """Of all that happened so far."""
        return self._hash.hexdigest()

    def note(self, who: str, what: str, about: str = "") -> None:
        """Something that a person may want to read."""
        line = Line(self._now_us(), who, what, about)
        self._hash.update(f"{line.at_us}\x1f{who}\x1f{what}\x1f{about}\n".encode())
        if len(self.lines) < LINES_MAX:
            self.lines.append(line)

    def count(self, *parts: object) -> None:
        """Something that only goes into the hash."""
        self._hash.update(f"{self._now_us()}\x1f{parts!r}\n".encode())

    def fault(self, kind: str, who: str, what: str = "") -> None:
        """Something went wrong on purpose."""
        self.faults[kind] += 1
        self.note(who, f"FAULT {kind}" + (f": {what}" if what else ""))


def story(lines: Iterable[Line], lines_max: int) -> list[str]:
    """The last so many lines, as text."""
    found = list(lines)
    cut = len(found) - lines_max
    shown = [line.text() for line in found[max(0, cut) :]]
    return [f"... {cut} lines before", *shown] if cut > 0 else shown
