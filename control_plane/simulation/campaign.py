"""Many seeds: each drawn, run and judged; what came of all of them together; and when a campaign has failed.

A campaign fails by a violation, by a seed that commanded nothing, and, if it is long enough to tell, by a kind of fault
that never struck: a simulation that tries nothing shows nothing.
"""

import gc
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from random import Random
from typing import Any, Final

from msgspec import Struct

from control_plane.simulation.drawing import draw
from control_plane.simulation.history import Violation
from control_plane.simulation.invariants import judge
from control_plane.simulation.palette import Palette
from control_plane.simulation.plan import Plan
from control_plane.simulation.ports import Parts, Subject
from control_plane.simulation.running import Ran, Run
from control_plane.simulation.scouting import Scouted, scout

SEEDS_TO_TELL: Final = 200
"""From so many seeds on, a kind of fault that never struck is a failure."""

FAULTS: Final = (
    *(f"crash {when} log.{call}" for call in ("rows", "outputs", "offset", "commit") for when in ("before", "after")),
    *(f"crash {when} ledger.{call}" for call in ("take", "begin", "finish") for when in ("before", "after")),
    *(f"crash {when} target.ask" for when in ("before", "after")),
    "answer lost",
    "answer of a target lost",
    "cancel",
    "clock ahead",
    "clock behind",
    "cut",
    "delay",
    "duplicate",
    "engine down",
    "engine garbage",
    "engine slow",
    "engine undefined",
    "event from ahead",
    "500 after the act",
    "freeze",
    "kill",
    "late event",
    "leaves",
    "ledger away",
    "ledger down",
    "log away",
    "log down",
    "lost on the way there",
    "other controls",
    "pause",
    "poison",
    "redelivery",
    "request late",
    "stale command",
    "targets hang",
    "targets refuse",
    "thrown out alive",
    "wiped",
)
"""What must befall a long campaign at least once, each of them."""


class Result(Struct, frozen=True, kw_only=True):
    """What one seed came to."""

    seed: int
    workspace: str
    hash: str
    commands: int
    violations: tuple[Violation, ...]
    faults: dict[str, int]
    counts: dict[str, int]


class Bench:
    """Workspaces that are ready to be run: seeds go through them in turn."""

    def __init__(self, subjects: Sequence[Subject], parts: Parts) -> None:
        self._subjects = subjects
        self._parts = parts
        self._scouted: dict[str, Scouted] = {}

    def look_around(self) -> None:
        """Find the stories of every workspace. Raises InvalidWorkspace when there are none in one."""
        for subject in self._subjects:
            self._known(subject)

    def run(self, seed: int) -> Result:
        """One seed, whole."""
        with _no_garbage_collected():
            ran, violations, counts = self.judged(seed, self.plan(seed))
        return Result(
            seed=seed,
            workspace=self._subject(seed).name,
            hash=ran.trace.hash,
            commands=counts["commands"],
            violations=tuple(violations),
            faults=dict(ran.trace.faults),
            counts=dict(counts),
        )

    def plan(self, seed: int) -> Plan:
        """What a seed stands for."""
        return draw(seed, self._known(self._subject(seed)))

    def judged(self, seed: int, plan: Plan) -> tuple[Ran, Sequence[Violation], Counter[str]]:
        """A plan on the workspace of a seed, run and judged."""
        subject = self._subject(seed)
        with _not_logged():
            ran = Run(plan, subject, self._parts).run()
        findings = judge(ran, subject, self._parts)
        return ran, findings.violations, findings.counts

    def _subject(self, seed: int) -> Subject:
        return self._subjects[seed % len(self._subjects)]

    def _known(self, subject: Subject) -> Scouted:
        found = self._scouted.get(subject.name)
        if found is None:
            controls = subject.controls.at(subject.sets[0].revision)
            palette = Palette(subject.sets[0], controls, Random(0))
            found = self._scouted[subject.name] = scout(palette, controls, self._parts.engine(), subject.name)
        return found


@contextmanager
def _not_logged() -> Iterator[None]:
    """What the real code logs of faults that are meant is of no use to anybody."""
    log = logging.getLogger("control_plane")
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(before)


@contextmanager
def _no_garbage_collected() -> Iterator[None]:
    """A run is short; looking for cycles within it takes time from those whose time is measured."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.collect(1)


class Tally:
    """All results so far."""

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self.seeds = 0
        self.commands = 0
        self.faults: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.failed: list[Result] = []
        self.wasted: list[Result] = []

    def add(self, result: Result) -> None:
        """One more."""
        self.seeds += 1
        self.commands += result.commands
        self.faults.update(result.faults)
        self.counts.update(result.counts)
        if result.violations:
            self.failed.append(result)
        elif not result.commands:
            self.wasted.append(result)

    def never_struck(self) -> Sequence[str]:
        """Kinds of faults that a campaign of this length should have met."""
        return [kind for kind in FAULTS if not self.faults[kind]] if self.seeds >= SEEDS_TO_TELL else []

    @property
    def ok(self) -> bool:
        """Whether all went well."""
        return not (self.failed or self.wasted or self.never_struck())

    def as_json(self) -> Mapping[str, Any]:
        """For programs."""
        return {
            "ok": self.ok,
            "seeds": self.seeds,
            "commands": self.commands,
            "violations": [
                {"seed": one.seed, "workspace": one.workspace, "promise": v.promise, "what": v.text()}
                for one in _by_seed(self.failed)
                for v in one.violations
            ],
            "wasted": [one.seed for one in _by_seed(self.wasted)],
            "faults": {kind: self.faults[kind] for kind in sorted({*FAULTS, *self.faults})},
            "never_struck": list(self.never_struck()),
            "counts": dict(sorted(self.counts.items())),
        }


def _by_seed(results: Iterable[Result]) -> Sequence[Result]:
    return sorted(results, key=lambda one: one.seed)
