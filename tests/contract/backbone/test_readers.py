"""Who only reads a log sees what its groups have committed, and leaves no trace."""

import asyncio
from contextlib import closing

import pytest

from control_plane.messages.topics import COMMANDS, EVENTS
from tests.contract.backbone.owners import CountingOwner, KeepingReader
from tests.contract.backbone.world import World, events


async def committed(world: World, *places: tuple[str, str, int]) -> list[int | None]:
    def read() -> list[int | None]:
        with closing(world.reader()) as reader:
            return [reader.committed_offset(*place) for place in places]

    return await asyncio.to_thread(read)


async def test_what_a_group_has_committed_can_be_read_beside_it_and_after_it(world: World) -> None:
    owner, reader = CountingOwner(), KeepingReader()
    async with world.running(owner, groups={"recorder": ((EVENTS,), reader)}) as backbone:
        await backbone.append(events(10, keys=1))
        await owner.until(lambda: sum(owner.counts().values()) == 10)
        await owner.until(lambda: len(owner.committed_batches) == len(owner.batches))
        await reader.until(lambda: len(reader.taken) == 10)
        partition = owner.taken[0].partition
        beside = await committed(world, ("loop", EVENTS, partition))
    after = await committed(world, ("loop", EVENTS, partition), ("recorder", EVENTS, partition))

    assert beside == [11], "ten records and the claim before them"
    assert after == [11, 11]


async def test_a_group_that_committed_nothing_has_no_offset(world: World) -> None:
    async with world.running(CountingOwner()):
        pass

    assert await committed(world, ("recorder", EVENTS, 0), ("nobody", EVENTS, 0), ("loop", COMMANDS, 1)) == [None] * 3


@pytest.mark.kafka
async def test_reading_offsets_makes_no_group(kafka_world: World) -> None:
    from aiokafka.admin import AIOKafkaAdminClient

    async with kafka_world.running():
        pass
    await committed(kafka_world, ("nobody", EVENTS, 0))

    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_world.url.removeprefix("kafka://"))
    await admin.start()
    groups = {group for group, *_ in await admin.list_consumer_groups()}
    await admin.close()
    assert not [group for group in groups if group.startswith(kafka_world.prefix) and group.endswith("nobody")]
