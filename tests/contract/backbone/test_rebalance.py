"""Partitions move: between workers on Kafka, away and back within the process on the embedded log."""

import pytest

from control_plane.messages.topics import DECISIONS, EVENTS
from tests.contract.backbone.killing import by_partition, every_input_has_its_output
from tests.contract.backbone.owners import CountingOwner
from tests.contract.backbone.turns import TURNS
from tests.contract.backbone.world import PARTITIONS, World, events

LEAVING_TIMEOUT_S = 30.0


async def test_partitions_go_away_and_come_back_without_loss(world: World) -> None:
    """The same worker takes them again: on Kafka because the group is told to share anew."""
    owner = CountingOwner()
    async with world.running(owner) as backbone:
        for round_ in range(6):
            await backbone.append(events(200, first=200 * round_))
            await owner.until(lambda: len(owner.readers) == PARTITIONS)
            await world.rebalance(backbone)
            await owner.until(lambda turn=round_: len(owner.revoked_partitions) == PARTITIONS * (turn + 1))
        await owner.until(lambda: sum(owner.counts().values()) == 1_200 and len(owner.readers) == PARTITIONS)
        await owner.until(lambda: len(owner.committed_batches) == len(owner.batches))

    await outputs_are_complete(world)


async def test_rebalances_that_overtake_one_another_lose_nothing(world: World) -> None:
    owner = CountingOwner()
    async with world.running(owner) as backbone:
        for round_ in range(10):
            await backbone.append(events(100, first=100 * round_))
            await world.rebalance(backbone)
        await owner.until(lambda: sum(owner.counts().values()) == 1_000)
        await owner.until(lambda: len(owner.committed_batches) == len(owner.batches))

    await outputs_are_complete(world)


@pytest.mark.kafka
@pytest.mark.parametrize("turn", TURNS)
async def test_a_second_worker_joins_and_leaves_without_loss(kafka_world: World, turn: int) -> None:
    world = kafka_world
    first, second = CountingOwner(), CountingOwner()
    async with world.running(first) as backbone:
        await backbone.append(events(500))
        async with world.running(second, worker="two"):
            await first.until(lambda: len(first.readers) == PARTITIONS - 1)
            await backbone.append(events(500, first=500))
            await second.until(lambda: bool(second.taken))
        await first.until(lambda: len(first.readers) == PARTITIONS, timeout_s=LEAVING_TIMEOUT_S)
        await backbone.append(events(500, first=1_000))
        await first.until(lambda: sum(first.counts().values()) == 1_500)
        await first.until(lambda: len(first.committed_batches) == len(first.batches))

    await outputs_are_complete(world)


async def outputs_are_complete(world: World) -> None:
    inputs, outputs = by_partition(await world.read(EVENTS)), by_partition(await world.read(DECISIONS))
    for partition, records in inputs.items():
        every_input_has_its_output(records, outputs.get(partition, []))
