"""Records are taken in order, without a gap, and commits are durable in the order of their batches."""

from itertools import groupby, pairwise

from control_plane.messages.topics import DECISIONS, EVENTS
from control_plane.ports.backbone import BATCH_RECORDS_MAX
from tests.contract.backbone.owners import CountingOwner
from tests.contract.backbone.world import World, events


async def test_each_key_keeps_its_order(world: World) -> None:
    owner = CountingOwner()
    async with world.running(owner) as backbone:
        await backbone.append(events(300))
        await owner.until(lambda: len(owner.taken) == 300)

    per_key = {
        key: [record.value for record in group]
        for key, group in groupby(sorted(owner.taken, key=lambda record: (record.key, record.offset)), lambda r: r.key)
    }
    assert per_key == {b"k%d" % k: [b"event %d" % n for n in range(k, 300, 5)] for k in range(5)}


async def test_a_record_says_where_it_stands_and_when_it_was_appended(world: World) -> None:
    owner = CountingOwner()
    async with world.running(owner) as backbone:
        [position] = await backbone.append(events(1))
        await owner.until(lambda: bool(owner.taken))

    [record] = owner.taken
    assert (record.topic, record.partition, record.offset) == (EVENTS, position.partition, position.offset)
    assert (record.key, record.value) == (b"k0", b"event 0")
    assert 1_600_000_000_000 < record.recorded_ms < 5_000_000_000_000


async def test_a_batch_is_never_larger_than_agreed(world: World) -> None:
    owner = CountingOwner()
    async with world.running(owner) as backbone:
        owner.gate.clear()
        await backbone.append(events(3 * BATCH_RECORDS_MAX, keys=1))
        owner.gate.set()
        await owner.until(lambda: len(owner.taken) == 3 * BATCH_RECORDS_MAX)

    starts = [offset for _, offset in owner.batches] + [3 * BATCH_RECORDS_MAX + 1]
    assert all(after - before <= BATCH_RECORDS_MAX for before, after in pairwise(starts))


async def test_commits_become_durable_in_the_order_of_their_batches(world: World) -> None:
    owner = CountingOwner()
    async with world.running(owner) as backbone:
        await backbone.append(events(1_000, keys=3))
        await owner.until(lambda: len(owner.taken) == 1_000)
        await owner.until(lambda: len(owner.committed_batches) == len(owner.batches))

    for partition in owner.starts:
        taken = [batch for batch in owner.batches if batch[0] == partition]
        assert [batch for batch in owner.committed_batches if batch[0] == partition] == taken


async def test_rows_and_outputs_are_there_once_a_batch_is_committed(world: World) -> None:
    owner = CountingOwner()
    async with world.running(owner) as backbone:
        await backbone.append(events(100))
        await owner.until(lambda: len(owner.taken) == 100)
        await owner.until(lambda: len(owner.committed_batches) == len(owner.batches))
        counts = owner.counts()
        outputs = await world.read(DECISIONS)

    assert counts == {b"k%d" % k: 20 for k in range(5)}
    assert sorted(int(record.value.split(b":")[1]) for record in outputs if record.key == b"k0") == list(range(1, 21))
    assert len(outputs) == 100


async def test_outputs_of_a_key_are_in_the_order_of_their_inputs(world: World) -> None:
    owner = CountingOwner()
    async with world.running(owner) as backbone:
        await backbone.append(events(900, keys=2))
        await owner.until(lambda: len(owner.taken) == 900)
        await owner.until(lambda: len(owner.committed_batches) == len(owner.batches))
        outputs = await world.read(DECISIONS)

    for key in (b"k0", b"k1"):
        assert [int(record.value.split(b":")[1]) for record in outputs if record.key == key] == list(range(1, 451))


async def test_readers_see_rows_only_once_they_are_acknowledged(world: World) -> None:
    owner = CountingOwner()
    async with world.running(owner) as backbone:
        owner.gate.clear()
        await backbone.append(events(1))
        await owner.until(lambda: owner.in_flight_seen_max == 1)
        before = owner.counts()
        owner.gate.set()
        await owner.until(lambda: bool(owner.committed_batches))

        assert before == {}
        assert owner.counts() == {b"k0": 1}
