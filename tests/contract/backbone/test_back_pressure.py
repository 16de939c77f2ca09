"""A slow owner is not buried: few batches are in its hands, and little waits for it."""

from control_plane.ports.backbone import BATCH_RECORDS_MAX, BATCHES_IN_FLIGHT_MAX
from tests.contract.backbone.owners import CountingOwner, KeepingReader
from tests.contract.backbone.world import World, events


async def test_no_more_batches_are_in_flight_than_agreed(world: World) -> None:
    owner = CountingOwner()
    async with world.running(owner) as backbone:
        for round_ in range(10):
            await backbone.append(events(500, keys=1, first=500 * round_))
        await owner.until(lambda: len(owner.taken) == 5_000)

    assert 1 <= owner.in_flight_seen_max <= BATCHES_IN_FLIGHT_MAX


async def test_a_waiting_owner_lets_little_pile_up(world: World) -> None:
    owner = CountingOwner()
    async with world.running(owner) as backbone:
        owner.gate.clear()
        for round_ in range(10):
            await backbone.append(events(500, keys=1, first=500 * round_))
        await owner.until(lambda: owner.in_flight_seen_max == 1)
        waiting = world.fetched_ahead(backbone)
        owner.gate.set()
        await owner.until(lambda: len(owner.taken) == 5_000)

    assert waiting <= 2 * BATCH_RECORDS_MAX


async def test_a_stalled_partition_does_not_hold_up_the_other(world: World) -> None:
    reader = KeepingReader()
    owner = CountingOwner()
    owner.gate.clear()
    async with world.running(owner, groups={"recorder": (("events.v1",), reader)}) as backbone:
        await backbone.append(events(1_000))
        await reader.until(lambda: len(reader.taken) == 1_000)
        assert owner.taken == []
        owner.gate.set()
        await owner.until(lambda: len(owner.taken) == 1_000)
