"""Other groups read topics with offsets of their own, each partition in order, partitions side by side."""

import pytest

from control_plane.errors import InvalidSettings, LedgerUnavailable
from control_plane.messages.topics import COMMANDS, DECISIONS, EVENTS, POLICIES
from control_plane.ports.backbone import Output
from tests.contract.backbone.owners import CountingOwner, KeepingReader
from tests.contract.backbone.world import World, events


async def test_a_group_reads_what_the_loop_puts_out(world: World) -> None:
    owner, reader = CountingOwner(), KeepingReader()
    async with world.running(owner, groups={"recorder": ((EVENTS, DECISIONS), reader)}) as backbone:
        await backbone.append(events(100))
        await reader.until(lambda: len(reader.taken) == 200)

    assert sum(record.topic == DECISIONS for record in reader.taken) == 100
    for topic in (EVENTS, DECISIONS):
        for partition in {record.partition for record in reader.taken}:
            offsets = [r.offset for r in reader.taken if (r.topic, r.partition) == (topic, partition)]
            assert offsets == list(range(offsets[0], offsets[0] + len(offsets)))
            assert offsets[0] == (topic == EVENTS), "the claim comes before all events"


async def test_each_group_has_offsets_of_its_own(world: World) -> None:
    one, other = KeepingReader(), KeepingReader()
    async with world.running(groups={"one": ((EVENTS,), one)}) as backbone:
        await backbone.append(events(10))
        await one.until(lambda: len(one.taken) == 10)

    again = KeepingReader()
    async with world.running(groups={"one": ((EVENTS,), again), "other": ((EVENTS,), other)}) as backbone:
        await backbone.append(events(1, first=10))
        await again.until(lambda: bool(again.taken))
        await other.until(lambda: len(other.taken) == 11)

    assert [record.value for record in again.taken] == [b"event 10"]


async def test_a_group_that_is_not_ready_gets_its_batch_again(world: World) -> None:
    reader = KeepingReader()
    reader.raising = [LedgerUnavailable("locked"), LedgerUnavailable("still locked")]
    async with world.running(groups={"executors": ((COMMANDS,), reader)}) as backbone:
        await backbone.append([Output(COMMANDS, b"k", b"restart")])
        await reader.until(lambda: bool(reader.taken))

    assert [record.value for record in reader.taken] == [b"restart"]


async def test_a_partition_that_waits_does_not_hold_up_another(world: World) -> None:
    reader = KeepingReader()
    stuck_partition = 0
    waiting = reader.take

    async def take(topic: str, partition: int, records: list) -> None:
        if partition != stuck_partition:
            reader.gate.set()
        await waiting(topic, partition, records)

    reader.take = take
    reader.gate.clear()
    async with world.running(groups={"executors": ((COMMANDS,), reader)}) as backbone:
        await backbone.append([Output(COMMANDS, b"k", b"slow", stuck_partition), Output(COMMANDS, b"k", b"quick", 1)])
        await reader.until(lambda: len(reader.taken) == 2)

    assert {record.value for record in reader.taken} == {b"slow", b"quick"}


async def test_a_reader_that_breaks_makes_the_process_give_up(world: World) -> None:
    reader = KeepingReader()
    reader.raising = [ZeroDivisionError("a bug")]
    backbone = world.backbone()
    backbone.join("executors", (COMMANDS,), reader)
    await backbone.start()
    await backbone.append([Output(COMMANDS, b"k", b"restart")])
    with pytest.raises(ZeroDivisionError, match="a bug"):
        await backbone.watch()
    await backbone.stop()

    healthy = KeepingReader()
    async with world.running(groups={"executors": ((COMMANDS,), healthy)}):
        await healthy.until(lambda: bool(healthy.taken))
    assert [record.value for record in healthy.taken] == [b"restart"]


async def test_a_group_reads_a_compacted_topic(world: World) -> None:
    reader = KeepingReader()
    async with world.running(groups={"controls": ((POLICIES,), reader)}) as backbone:
        await backbone.append([Output(POLICIES, b"rego/night@1", b"package night"), Output(POLICIES, b"gone", b"")])
        await reader.until(lambda: len(reader.taken) == 2)

    assert [(record.key, record.value) for record in reader.taken] == [
        (b"rego/night@1", b"package night"),
        (b"gone", b""),
    ]


async def test_a_topic_or_a_group_that_cannot_be_joined_is_refused(world: World) -> None:
    backbone = world.backbone()

    with pytest.raises(InvalidSettings, match="no topic"):
        backbone.join("recorder", ("nonsense.v1",), KeepingReader())
    with pytest.raises(InvalidSettings, match="already joined"):
        backbone.join("loop", (EVENTS,), KeepingReader())


async def test_a_group_is_joined_once_in_a_process(world: World) -> None:
    if world.is_kafka:
        return  # Kafka shares a group's partitions out among whoever joins.
    async with world.running(groups={"recorder": ((EVENTS,), KeepingReader())}):
        second = world.backbone("two")
        second.join("recorder", (EVENTS,), KeepingReader())
        with pytest.raises(InvalidSettings, match="joined on this log"):
            await second.start()


async def test_backbones_of_one_process_share_a_log(world: World) -> None:
    """Roles may run side by side in one process, each with a backbone."""
    reader = KeepingReader()
    async with world.running(groups={"recorder": ((EVENTS,), reader)}), world.running(worker="two") as other:
        await other.append(events(3))
        await reader.until(lambda: len(reader.taken) == 3)
