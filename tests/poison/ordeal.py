"""Poison of every kind onto a log, each with a good event behind it in the same partition; and the judgement."""

import asyncio
from dataclasses import dataclass, field

from control_plane.adapters.faust.partitioner import partition_of
from tests.poison.house import PARTITIONS, PATIENCE_S, Found, Life, Sent
from tests.poison.kinds import ODD, POISON, Kind, good

HUGE_SHARE = 20
"""Of what is huge only one in so many is sent."""
POISON_EACH = 100
"""Under load, one good event in so many has poison before it."""
PATIENCE_EACH_S = 0.02
BATCH = 50
"""Records that are under way at a time."""


@dataclass(kw_only=True)
class Findings:
    """What came of it."""

    poisoned: int = 0
    effects: int = 0
    violations: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class _Case:
    kind: Kind
    subject: str
    sent: Sent


class Ordeal:
    """Each kind so often. A subject has one poison and one good event; those of odd kinds only the odd one."""

    def __init__(self, life: Life, *, each: int) -> None:
        self._life = life
        self._each = each

    async def run(self) -> Findings:
        """Send it all, wait for the effects, and judge what the log says."""
        cases: list[_Case] = []
        for kind in (*POISON, *ODD):
            many = max(1, self._each // HUGE_SHARE) if kind.is_huge else self._each
            for first in range(0, many, BATCH):
                numbers = range(first, min(many, first + BATCH))
                cases += await asyncio.gather(*(self._send(kind, n) for n in numbers))
        poisoned = [case for case in cases if case.kind.code is not None]
        subjects = {case.subject for case in cases if case.kind.acts}
        found = await self._life.until(
            lambda found: found.outcomes.keys() >= subjects and found.buried >= len(poisoned),
            patience_s=PATIENCE_S + len(cases) * PATIENCE_EACH_S,
        )
        violations = [wrong for case in cases for wrong in _judged(case, found)]
        violations += _unasked(found, {(case.sent.partition, case.sent.offset) for case in poisoned})
        return Findings(poisoned=len(poisoned), effects=len(subjects & found.outcomes.keys()), violations=violations)

    async def _send(self, kind: Kind, n: int) -> _Case:
        """The record, and behind poison a good event in the same partition, about the same subject."""
        subject = f"machine/{kind.name.replace(' ', '-')}-{n}"
        key, partition = subject.encode(), partition_of(subject.encode(), PARTITIONS)
        sent = await self._life.send(kind.make(subject, n), key=key if kind.has_key else None, partition=partition)
        if kind.code is not None:
            await self._life.send(good(subject, -1), key=key, partition=partition)
        return _Case(kind=kind, subject=subject, sent=sent)


async def under_load(life: Life, *, events: int, per_second: int) -> Findings:
    """Good events at a steady pace, each of a subject of its own; one in a hundred has poison before it."""
    cases: list[_Case] = []
    before = set((await life.until(lambda found: True)).letters)
    subjects = [f"machine/load-{n}" for n in range(events)]
    loop = asyncio.get_running_loop()
    began = loop.time()
    for n, subject in enumerate(subjects):
        await asyncio.sleep(began + n / per_second - loop.time())
        if n % POISON_EACH == 0:
            kind = _SMALL[n // POISON_EACH % len(_SMALL)]
            partition = partition_of(subject.encode(), PARTITIONS)
            sent = await life.send(kind.make(subject, n), key=subject.encode(), partition=partition)
            cases.append(_Case(kind=kind, subject=subject, sent=sent))
        await life.send(good(subject, -1), key=subject.encode())
    found = await life.until(
        lambda found: found.outcomes.keys() >= set(subjects) and len(found.letters) >= len(before) + len(cases)
    )
    violations = [wrong for case in cases for wrong in _judged(case, found)]
    violations += [f"{subject}: {wrong}" for subject in subjects for wrong in _effects(subject, found)]
    violations += _unasked(found, before | {(case.sent.partition, case.sent.offset) for case in cases})
    done = len(set(subjects) & found.outcomes.keys())
    return Findings(poisoned=len(cases), effects=done, violations=violations)


_SMALL = tuple(kind for kind in POISON if not kind.is_huge)


def _judged(case: _Case, found: Found) -> list[str]:
    """What is wrong with what came of one record and of the good event behind it."""
    letters = found.letters.get((case.sent.partition, case.sent.offset), set())
    codes = {code for _, code in letters}
    codes_wanted = set() if case.kind.code is None else {case.kind.code}
    wrong = _effects(case.subject, found, wanted=1 if case.kind.acts else 0)
    if codes != codes_wanted or len(letters) != len(codes_wanted):
        wrong.append(f"the letters of its record say {sorted(codes)}, not {sorted(codes_wanted)}")
    return [f"{case.kind.name} ({case.subject}): {problem}" for problem in wrong]


def _effects(subject: str, found: Found, wanted: int = 1) -> list[str]:
    commands, outcomes = len(found.commands.get(subject, ())), found.outcomes[subject]
    return [] if commands == outcomes == wanted else [f"{commands} commands, {outcomes} outcomes, not {wanted} of each"]


def _unasked(found: Found, poisoned: set[tuple[int, int]]) -> list[str]:
    return [f"a letter for what was no poison: {place}" for place in found.letters.keys() - poisoned]
