"""A log that is no longer the one that was applied stops acting, until a person says that it may go on."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from control_plane.errors import InvalidSettings
from control_plane.messages.topics import COMMANDS, DECISIONS, EVENTS
from control_plane.ports.backbone import Output
from tests.contract.backbone.owners import CountingOwner, KeepingReader
from tests.contract.backbone.turns import TURNS
from tests.contract.backbone.world import PARTITIONS, World

HERE = 0
PLACE = ("loop", EVENTS, HERE)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)


def here(count: int, first: int = 0) -> list[Output]:
    return [Output(EVENTS, b"k%d" % (n % 3), b"event %d" % n, HERE) for n in range(first, first + count)]


async def counted(world: World, count: int = 20) -> None:
    """A worker that has counted so many events in one partition, and is gone."""
    owner = CountingOwner()
    async with world.running(owner) as backbone:
        await backbone.append(here(count))
        await owner.until(lambda: len(owner.taken) == count and len(owner.readers) == PARTITIONS)
        await owner.until(lambda: len(owner.committed_batches) == len(owner.batches))


async def test_a_log_that_went_back_is_taken_only_at_a_person_s_word(world: World) -> None:
    await counted(world)
    await world.go_back(HERE, 10)

    owner = CountingOwner()
    async with world.running(owner) as backbone:
        await until(lambda: PLACE in backbone.stopped())
        await until(lambda: set(owner.readers) == {1})
        assert "setpoint log continue --partition 0" in backbone.stopped()[PLACE]
        assert owner.taken == []

        word = await backbone.go_on(HERE)
        await owner.until(lambda: owner.starts.get(HERE) is not None and owner.starts[HERE].generation == 1)
        await until(lambda: backbone.stopped() == {})
        await backbone.append(here(5, first=100))
        await owner.until(lambda: len(owner.taken) == 5)
        await owner.until(lambda: len(owner.committed_batches) == len(owner.batches))

    assert word.generation == 1
    assert [record.value for record in owner.taken] == [b"event %d" % n for n in range(100, 105)]


async def test_a_word_is_said_once_and_holds_for_every_later_owner(world: World) -> None:
    await counted(world)
    await world.go_back(HERE, 10)
    async with world.running(CountingOwner()) as backbone:
        await until(lambda: PLACE in backbone.stopped())
        await backbone.go_on(HERE)
        await until(lambda: backbone.stopped() == {})
        await backbone.append(here(5, first=100))
        await until(lambda: bool(backbone.lag()) and set(backbone.lag().values()) == {0})

    later = CountingOwner()
    async with world.running(later) as backbone:
        await later.until(lambda: len(later.readers) == PARTITIONS)
        assert backbone.stopped() == {}
    assert later.starts[HERE].generation == 1


async def test_a_word_may_say_from_where(world: World) -> None:
    await counted(world)
    await world.go_back(HERE, 10)

    owner = CountingOwner()
    async with world.running(owner) as backbone:
        await until(lambda: PLACE in backbone.stopped())
        with pytest.raises(InvalidSettings, match=r"not 9999\. Nothing was changed"):
            await backbone.go_on(HERE, 9_999)
        with pytest.raises(InvalidSettings, match="no partition 7"):
            await backbone.go_on(7)
        word = await backbone.go_on(HERE, 3)
        await owner.until(lambda: HERE in owner.readers)

    assert (word.next_offset, owner.starts[HERE].next_offset) == (3, 3)


async def test_a_word_on_a_partition_that_is_not_stopped_changes_nothing(world: World) -> None:
    owner = CountingOwner()
    async with world.running(owner) as backbone:
        await owner.until(lambda: len(owner.readers) == PARTITIONS)
        await backbone.append(here(10))
        await owner.until(lambda: len(owner.taken) == 10)

        with suppress(InvalidSettings):
            await backbone.go_on(HERE)
        await backbone.append(here(10, first=10))
        await owner.until(lambda: len(owner.taken) == 20)
        await owner.until(lambda: len(owner.committed_batches) == len(owner.batches))

    later = CountingOwner()
    async with world.running(later):
        await later.until(lambda: len(later.readers) == PARTITIONS)
        assert later.counts() == owner_counts(20)
    assert (later.starts[HERE].generation, later.taken) == (0, [])


def owner_counts(count: int) -> dict[bytes, int]:
    return {b"k%d" % key: len(range(key, count, 3)) for key in range(3)}


@pytest.mark.kafka
@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("lost", ["beginning", "everything"])
async def test_a_topic_that_was_cut_or_made_anew_is_noticed(kafka_world: World, lost: str, turn: int) -> None:
    world = kafka_world
    await counted(world)
    if lost == "beginning":
        async with world.running() as backbone:
            await backbone.append(here(10, first=20))
        await world.cut(HERE, 25)
    else:
        await world.recreate(EVENTS)

    owner = CountingOwner()
    async with world.running(owner) as backbone:
        await until(lambda: PLACE in backbone.stopped())
        assert owner.taken == []
        await backbone.go_on(HERE)
        await owner.until(lambda: HERE in owner.readers)
        if lost == "beginning":
            await owner.until(lambda: len(owner.taken) == 6)
        await backbone.append(here(1, first=999))
        await owner.until(lambda: owner.taken[-1:] != [] and owner.taken[-1].value == b"event 999")
        await owner.until(lambda: len(owner.committed_batches) == len(owner.batches))

    said = len(await world.read(DECISIONS))
    assert said == 20 + (6 if lost == "beginning" else 0) + 1, "something was said again"


@pytest.mark.kafka
async def test_rows_that_are_gone_are_noticed(kafka_world: World) -> None:
    await counted(kafka_world)
    await kafka_world.recreate("app-loop-rows-changelog")

    owner = CountingOwner()
    async with kafka_world.running(owner, worker="two") as backbone:
        await until(lambda: PLACE in backbone.stopped())
        assert "its rows are gone" in backbone.stopped()[PLACE]
        assert owner.taken == []


@pytest.mark.kafka
async def test_another_group_stops_and_goes_on_as_well(kafka_world: World) -> None:
    world = kafka_world
    reader = KeepingReader()
    groups: dict[str, Any] = {"executors": ((COMMANDS,), reader)}
    async with world.running(groups=groups) as backbone:
        await backbone.append([Output(COMMANDS, b"k", b"restart %d" % n, HERE) for n in range(5)])
        await reader.until(lambda: len(reader.taken) == 5)
    reader.taken.clear()
    await world.commit_ahead_of("executors", COMMANDS, HERE, 7)

    async with world.running(groups=groups) as backbone:
        await until(lambda: ("executors", COMMANDS, HERE) in backbone.stopped())
        assert reader.taken == []
        await backbone.go_on(HERE)
        await until(lambda: backbone.stopped() == {})
        await backbone.append([Output(COMMANDS, b"k", b"new", HERE)])
        await reader.until(lambda: reader.taken[-1:] != [] and reader.taken[-1].value == b"new")
