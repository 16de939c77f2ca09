"""The judge of simulations bites: a sound run is spoiled afterwards, each time in one way."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from control_plane.bootstrap.simulated import bench_of
from control_plane.messages import topics
from control_plane.ports.backbone import Record
from control_plane.simulation.campaign import Bench
from control_plane.simulation.invariants import judge
from control_plane.simulation.running import Ran

SEEDS = range(3, 80, 4)
"""On the example `orders`; the first that acts twice on one subject is spoiled."""


@pytest.fixture(scope="module")
def bench() -> Bench:
    return bench_of(None)


@pytest.fixture(scope="module")
def seed(bench: Bench) -> int:
    """One that has everything which is to be spoiled."""
    for number in SEEDS:
        subjects = [one.subject for one in bench.judged(number, bench.plan(number))[0].world.effects]
        if len(subjects) > len(set(subjects)):
            return number
    raise AssertionError("none of these seeds acts twice on one subject")


@pytest.fixture
def ran(bench: Bench, seed: int) -> Ran:
    """A run in which nothing is wrong, ready to be spoiled."""
    found, violations, counts = bench.judged(seed, bench.plan(seed))
    assert not violations
    assert counts["effects"] > 1
    return found


def spoiled(ran: Ran, bench: Bench) -> set[str]:
    """The promises that the judge finds broken."""
    subject = bench._subject(SEEDS[0])
    return {found.promise for found in judge(ran, subject, bench._parts).violations}


def records_of(ran: Ran, topic: str) -> list[Record]:
    """The records of the first partition that has any."""
    found: list[Record] = next(records for records in ran.log._records[topic] if records)
    return found


def twice_done(ran: Ran) -> None:
    ran.world.effects.append(ran.world.effects[0])


def done_by_nobody(ran: Ran) -> None:
    ran.world.effects.append(replace(ran.world.effects[0], key="nobody asked for it"))


def not_done(ran: Ran) -> None:
    ran.world.effects.pop()


def done_too_late(ran: Ran) -> None:
    one = ran.world.asked[0]
    ran.world.asked[0] = replace(one, by_clock_ms=one.command.deadline_ms)


def done_in_another_order(ran: Ran) -> None:
    """Two effects on one subject change places."""
    first, last = next(
        (at, later)
        for at, one in enumerate(ran.world.effects)
        for later, other in enumerate(ran.world.effects)
        if at < later and one.subject == other.subject
    )
    effects = ran.world.effects
    effects[first], effects[last] = effects[last], effects[first]


def outcome_lost(ran: Ran) -> None:
    for records in ran.log._records[topics.EVENTS]:
        at = next((n for n, record in enumerate(records) if b'"command_id"' in record.value), None)
        if at is not None:
            records[at] = replace(records[at], value=b"{}")
            return


def allow_lost(ran: Ran) -> None:
    for records in ran.log._records[topics.VERDICTS]:
        at = next((n for n, record in enumerate(records) if b'"answer":"allow"' in record.value), None)
        if at is not None:
            records[at] = replace(records[at], value=records[at].value.replace(b'"answer":"allow"', b'"answer":"deny"'))
            return


def copies_differ(ran: Ran) -> None:
    records = records_of(ran, topics.DECISIONS)
    other = records[0].value.replace(b'"confidence":1.0', b'"confidence":0.9')
    records.append(replace(records[0], offset=len(records), value=other))


def input_lost(ran: Ran) -> None:
    """An event that nothing follows from is gone from the log; what is behind it has moved up."""
    for records in ran.log._records[topics.EVENTS]:
        at = next((n for n, record in enumerate(records) if b'"source":"producer' in record.value), None)
        if at is not None:
            moved = [replace(record, offset=record.offset - 1) for record in records[at + 1 :]]
            records[at:] = [one for one in moved if one.value != records[at].value]
            return


def row_changed(ran: Ran) -> None:
    rows = next(rows for rows in ran.log.rows if len(rows) > 1)
    first, second, *_ = (key for key in rows if not key.startswith(b"partition/"))
    rows[first] = rows[second]


@pytest.mark.parametrize(
    ("spoil", "promise"),
    [
        (twice_done, "I2"),
        (done_by_nobody, "I2"),
        (not_done, "I2"),
        (done_too_late, "I2"),
        (done_in_another_order, "I8"),
        (outcome_lost, "I1"),
        (allow_lost, "I3"),
        (copies_differ, "copies"),
        (input_lost, "I1"),
        (row_changed, "I7"),
    ],
    ids=lambda value: value.__name__ if callable(value) else value,
)
def test_what_is_wrong_is_found(spoil: Callable[[Ran], None], promise: str, ran: Ran, bench: Bench) -> None:
    assert spoiled(ran, bench) == set()

    spoil(ran)

    assert promise in spoiled(ran, bench)
