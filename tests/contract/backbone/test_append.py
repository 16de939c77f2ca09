"""Appending from outside: durable on return, with positions, to the partition that Kafka's clients would choose."""

import pytest
from aiokafka.partitioner import DefaultPartitioner

from control_plane.adapters.embedded_log.model import RECORD_BYTES_MAX
from control_plane.errors import InvalidMessage, InvalidSettings
from control_plane.messages.topics import EVENTS, POLICIES
from control_plane.ports.backbone import Output
from tests.contract.backbone.owners import CountingOwner, KeepingReader
from tests.contract.backbone.world import PARTITIONS, World, events


async def test_positions_come_in_the_order_given(world: World) -> None:
    async with world.running() as backbone:
        outputs = events(40, keys=7)
        positions = await backbone.append(outputs)
        records = {(record.partition, record.offset): record for record in await world.read(EVENTS)}

    assert [records[position.partition, position.offset].value for position in positions] == [o.value for o in outputs]
    assert {position.topic for position in positions} == {EVENTS}


async def test_a_key_goes_to_the_partition_that_kafkas_clients_choose(world: World) -> None:
    async with world.running() as backbone:
        outputs = [Output(EVENTS, key, b"v") for key in (b"service/web-1", b"", b"\xff\x00", b"k" * 300)]
        positions = await backbone.append(outputs)

    choose, partitions = DefaultPartitioner(), list(range(PARTITIONS))
    assert [p.partition for p in positions] == [choose(o.key, partitions, partitions) for o in outputs]


async def test_a_partition_that_is_named_is_used(world: World) -> None:
    async with world.running() as backbone:
        positions = await backbone.append([Output(EVENTS, b"k", b"v", partition) for partition in (1, 0, 1)])

    assert [(position.partition, position.offset) for position in positions] == [(1, 0), (0, 0), (1, 1)]


async def test_a_control_topic_has_one_partition(world: World) -> None:
    async with world.running() as backbone:
        positions = await backbone.append([Output(POLICIES, b"rego/%d@1" % n, b"text") for n in range(5)])

    assert [(position.partition, position.offset) for position in positions] == [(0, n) for n in range(5)]


async def test_nothing_is_appended_when_a_topic_is_unknown(world: World) -> None:
    async with world.running() as backbone:
        with pytest.raises(InvalidSettings, match="no topic"):
            await backbone.append([*events(1), Output("nonsense.v1", b"k", b"v")])
        assert await world.read(EVENTS) == []


async def test_the_owner_may_append_while_it_takes(world: World) -> None:
    """Ticks and claims are appended by whoever owns the partition."""
    owner = CountingOwner()
    async with world.running(owner) as backbone:
        counting = owner.take

        async def take(partition: int, records: list) -> object:
            if b"event 0" in {record.value for record in records}:
                await backbone.append([Output(EVENTS, b"tick", b"tick", partition)])
            return await counting(partition, records)

        owner.take = take
        await backbone.append(events(1))
        await owner.until(lambda: len(owner.taken) == 2)

    assert [record.value for record in owner.taken] == [b"event 0", b"tick"]


async def test_a_large_record_passes_and_one_that_is_too_large_is_refused(world: World) -> None:
    large = b"x" * 3_000_000
    reader = KeepingReader()
    async with world.running(groups={"recorder": ((EVENTS,), reader)}) as backbone:
        await backbone.append([Output(EVENTS, b"k", large)])
        with pytest.raises(InvalidMessage, match="Nothing was appended"):
            await backbone.append([Output(EVENTS, b"k", b"x" * (RECORD_BYTES_MAX + 1))])
        await reader.until(lambda: bool(reader.taken))

    assert [record.value for record in reader.taken] == [large]


async def test_a_partition_that_is_not_there_is_refused(world: World) -> None:
    async with world.running() as backbone:
        with pytest.raises(InvalidSettings, match=f"no partition {PARTITIONS}"):
            await backbone.append([Output(EVENTS, b"k", b"v", PARTITIONS)])
