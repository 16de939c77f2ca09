"""Rows that others own are kept at hand, so that who takes a partition over has hardly anything to read."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from control_plane.adapters.faust.backbone import STANDBY
from control_plane.adapters.faust.row_store import RowsStore
from control_plane.messages.topics import EVENTS
from tests.contract.backbone.owners import CountingOwner, decode
from tests.contract.backbone.world import PARTITIONS, World, events

pytestmark = pytest.mark.kafka

TIMEOUT_S = 30.0
EVENTS_COUNT = 400
OF_OWN_MAX = 4
"""Records that a taking finds beyond what was kept at hand: its own fence and claim, and those of a taking before."""


async def until(holds: Callable[[], bool]) -> None:
    """For what no owner is told of."""
    async with asyncio.timeout(TIMEOUT_S):
        while not holds():  # noqa: ASYNC110 - nobody could set an event: it is looked at from outside
            await asyncio.sleep(0.05)


def warm(backbone: Any) -> dict[int, int]:
    """How far the rows that are kept at hand are behind, by partition."""
    return {place[2]: behind for place, behind in backbone.lag().items() if place[0] == STANDBY}


def store_of(backbone: Any) -> RowsStore:
    store: RowsStore = next(iter(backbone._owner_part.app.tables.values())).data
    return store


def counted(backbone: Any, partition: int) -> dict[bytes, int]:
    return {key: decode(value).count for key, value in store_of(backbone).rows(partition).scan()}


async def test_rows_of_others_are_at_hand_before_they_are_taken_over(kafka_world: World) -> None:
    world = kafka_world
    one, two = CountingOwner(), CountingOwner()
    async with world.running(one, standbys=1) as first:
        await first.append(events(EVENTS_COUNT))
        await one.until(lambda: sum(one.counts().values()) == EVENTS_COUNT)
        async with world.running(two, worker="two", standbys=1) as second:
            await one.until(lambda: len(one.readers) == PARTITIONS - 1, TIMEOUT_S)
            await two.until(lambda: bool(two.readers), TIMEOUT_S)
            [theirs], [ours] = two.readers, one.readers
            await first.append(events(EVENTS_COUNT, first=EVENTS_COUNT))
            await two.until(lambda: sum(two.counts().values()) + sum(one.counts().values()) == 2 * EVENTS_COUNT)
            wanted, other = two.counts(), one.counts()
            await until(lambda: warm(first) == {theirs: 0} and counted(first, theirs) == wanted)
            await until(lambda: warm(second) == {ours: 0} and counted(second, ours) == other)
            kept = store_of(first).rows(theirs).changelog_offset()
        await one.until(lambda: len(one.readers) == PARTITIONS, TIMEOUT_S)
        taken = store_of(first).rows(theirs).changelog_offset()
        assert kept is not None
        assert taken is not None
        assert taken - kept <= OF_OWN_MAX
        assert warm(first) == {}, "alone, it owns every partition"
        await first.append(events(EVENTS_COUNT, first=2 * EVENTS_COUNT))
        await one.until(lambda: sum(one.counts().values()) == 3 * EVENTS_COUNT)


async def test_without_standbys_nothing_of_others_is_read(kafka_world: World) -> None:
    world = kafka_world
    one, two = CountingOwner(), CountingOwner()
    async with world.running(one) as first, world.running(two, worker="two"):
        await two.until(lambda: bool(two.readers), TIMEOUT_S)
        await one.until(lambda: len(one.readers) == PARTITIONS - 1, TIMEOUT_S)
        assert warm(first) == {}


async def test_rows_kept_of_a_changelog_that_was_wiped_are_forgotten(kafka_world: World) -> None:
    """They are ahead of what the changelog holds now: it is what counts."""
    world = kafka_world
    one, two = CountingOwner(), CountingOwner()
    async with world.running(one, standbys=1) as first, world.running(two, worker="two", standbys=1):
        await two.until(lambda: bool(two.readers), TIMEOUT_S)
        [theirs] = two.readers
        await until(lambda: warm(first).get(theirs) == 0)
        store = store_of(first)
        await first._owner_part.standby.end()
        store.rows(theirs).write([(b"ghost", b"row")], 1_000_000)
        first._owner_part.standby.follow([theirs], store)
        await until(lambda: warm(first).get(theirs) == 0)
        assert store.rows(theirs).get(b"ghost") is None


async def test_a_worker_with_nothing_but_rows_of_others_stands_by(kafka_world: World) -> None:
    world = kafka_world
    owners = [CountingOwner() for _ in range(PARTITIONS + 1)]
    async with (
        world.running(owners[0], standbys=1) as first,
        world.running(owners[1], worker="two", standbys=1) as second,
        world.running(owners[2], worker="three", standbys=1) as third,
    ):
        backbones = (first, second, third)
        await until(lambda: [bool(owner.readers) for owner in owners].count(True) == PARTITIONS)
        await until(lambda: [backbone.stands_by() for backbone in backbones].count(True) == 1)
        await first.append(events(10))
        await until(lambda: sum(sum(owner.counts().values()) for owner in owners) == 10)
    assert len(await world.read(EVENTS)) == 10
