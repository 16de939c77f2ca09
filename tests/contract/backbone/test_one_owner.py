"""A partition has one owner: whoever was it before writes no more, however long it slept and whatever it believes.

`make owners N=30` repeats what takes real workers.
"""

import asyncio
import signal
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from control_plane.adapters.faust.kafka_fence import Fence
from control_plane.errors import OwnerFenced
from control_plane.messages.topics import DECISIONS, EVENTS
from control_plane.ports.backbone import EPOCH_HEADER, Output
from tests.contract.backbone.killing import ShownOwner, by_partition, every_input_has_its_output, worker
from tests.contract.backbone.owners import CountingOwner, Row, encode
from tests.contract.backbone.test_rebalance import outputs_are_complete
from tests.contract.backbone.turns import TURNS
from tests.contract.backbone.worker import FENCED
from tests.contract.backbone.world import PARTITIONS, World, events

HERE = 0
WAKING_TIMEOUT_S = 30.0


def epochs_on(records: list[Any]) -> list[int]:
    return [int(dict(record.headers)[EPOCH_HEADER]) for record in records if record.headers]


async def test_each_taking_has_a_higher_epoch_and_outputs_carry_it(world: World) -> None:
    epochs = []
    for round_ in range(3):
        owner = CountingOwner()
        async with world.running(owner) as backbone:
            await backbone.append([Output(EVENTS, b"k", b"event %d" % round_, HERE)])
            await owner.until(lambda owner=owner: len(owner.committed_batches) == 1)
            epochs.append(owner.starts[HERE].epoch)

    assert epochs == sorted(set(epochs))
    outputs = [record for record in await world.read(DECISIONS) if record.partition == HERE]
    assert epochs_on(outputs) == epochs
    assert len(await world.claims(HERE)) == 3


@pytest.mark.kafka
@pytest.mark.kills
@pytest.mark.parametrize("turn", TURNS)
async def test_a_worker_that_was_paused_thrown_out_and_woken_up_stops_and_the_newer_rows_stand(
    kafka_world: World, turn: int
) -> None:
    world, newer = kafka_world, CountingOwner()
    hold = world.path / "hold"
    async with world.running(worker="feeder") as feeder, worker(world, rounds=1) as older:
        await until_said(world, DECISIONS)
        hold.touch()
        await feeder.append(events(200, first=1_000))
        await asyncio.sleep(0.5)  # Until it has a batch in its hands; without one it would only have less to lose.
        older.send_signal(signal.SIGSTOP)
        async with world.running(newer, worker="two"):
            await newer.until(lambda: len(newer.readers) == PARTITIONS, timeout_s=WAKING_TIMEOUT_S)
            feeding = asyncio.create_task(feed(feeder))
            hold.unlink()
            older.send_signal(signal.SIGCONT)
            code = await asyncio.wait_for(older.wait(), WAKING_TIMEOUT_S)
            count = await feeding
            await newer.until(lambda: sum(newer.counts().values()) >= 300 + count, timeout_s=WAKING_TIMEOUT_S)
            await newer.until(lambda: len(newer.committed_batches) == len(newer.batches))
            rows = newer.counts()

    assert code == FENCED
    assert sum(rows.values()) == 300 + count
    await outputs_are_complete(world)
    after = ShownOwner()
    async with world.running(after, worker="three"):
        await after.until(lambda: len(after.readers) == PARTITIONS)
        assert after.counts() == rows


async def feed(backbone: Any) -> int:
    """A load of some 300 events a second for two seconds."""
    for round_ in range(20):
        await backbone.append(events(30, first=10_000 + 30 * round_))
        await asyncio.sleep(0.1)
    return 600


async def until_said(world: World, topic: str) -> None:
    async with asyncio.timeout(WAKING_TIMEOUT_S):
        while len(await world.read(topic)) < 100:  # noqa: ASYNC110 - what another process does has no event
            await asyncio.sleep(0.05)


@pytest.mark.kafka
async def test_whoever_claims_late_is_refused(kafka_world: World) -> None:
    """It raised its fence first, and somebody else did and wrote before it came to its claim."""
    world, slow, quick = kafka_world, CountingOwner(), CountingOwner()
    late = world.backbone("one")
    late.own_events(slow)
    raised, may_go_on = asyncio.Event(), asyncio.Event()
    raise_up = Fence.raise_up

    async def raise_up_and_wait(fence: Fence) -> None:
        await raise_up(fence)
        if not raised.is_set():
            raised.set()
            await may_go_on.wait()

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Fence, "raise_up", raise_up_and_wait)
        starting = asyncio.create_task(late.start())
        await raised.wait()
    fences = [
        Fence(f"{world.prefix}app-loop-{partition}", late._side._producer.fencing) for partition in range(PARTITIONS)
    ]
    for partition, fence in enumerate(fences):
        await fence.raise_up()
        for topic in (world.prefix + EVENTS, f"{world.prefix}app-loop-rows-changelog"):
            await fence.producer.send_and_wait(topic, b"{}", key=b"partition/x", partition=partition)
    may_go_on.set()

    with pytest.raises(OwnerFenced, match="a newer owner has taken a partition of this process"):
        await starting
    for fence in fences:
        await fence.close()
    assert (slow.readers, quick.readers) == ({}, {})


@pytest.mark.kafka
async def test_rows_that_an_older_owner_writes_after_all_are_written_again(kafka_world: World) -> None:
    world, owner = kafka_world, CountingOwner()
    async with world.running(owner) as backbone:
        await backbone.append([Output(EVENTS, b"k0", b"one", HERE), Output(EVENTS, b"k1", b"one", HERE)])
        await owner.until(lambda: owner.counts() == {b"k0": 1, b"k1": 1})
        await intrude(world, {b"k0": encode(Row(99, 0)), b"stranger": encode(Row(7, 0))}, epoch=1)
        await backbone.append([Output(EVENTS, b"k1", b"two", HERE)])
        await owner.until(lambda: owner.counts() == {b"k0": 1, b"k1": 2})

    later = CountingOwner()
    async with world.running(later, worker="two"):
        await later.until(lambda: len(later.readers) == PARTITIONS)
        assert later.counts() == {b"k0": 1, b"k1": 2}


@pytest.mark.kafka
async def test_an_owner_that_finds_rows_of_a_newer_one_between_its_own_stops(kafka_world: World) -> None:
    world, owner = kafka_world, CountingOwner()
    backbone = world.backbone()
    backbone.own_events(owner)
    await backbone.start()
    try:
        await owner.until(lambda: len(owner.readers) == PARTITIONS)
        await intrude(world, {b"k0": encode(Row(99, 0))}, epoch=owner.starts[HERE].epoch + 1)
        await backbone.append([Output(EVENTS, b"k1", b"two", HERE)])
        with pytest.raises(OwnerFenced, match="It gave the partition up"):
            await asyncio.wait_for(backbone.watch(), 10)
    finally:
        await backbone.stop()
    assert owner.readers == {}


async def intrude(world: World, rows: dict[bytes, bytes], epoch: int) -> None:
    """Somebody else writes rows to the changelog, past every fence."""
    producer = AIOKafkaProducer(bootstrap_servers=world.address)
    await producer.start()
    for key, value in rows.items():
        headers = [(EPOCH_HEADER, b"%d" % epoch)]
        await producer.send_and_wait(
            f"{world.prefix}app-loop-rows-changelog", value, key=key, partition=HERE, headers=headers
        )
    await producer.stop()


@pytest.mark.kafka
async def test_a_fence_that_is_raised_anew_under_load_loses_nothing(
    kafka_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("control_plane.adapters.faust.kafka_lines.RENEW_EVERY_S", 0.1)
    raised: list[str] = []
    raise_up = Fence.raise_up

    async def counted(fence: Fence) -> None:
        raised.append(fence.transactional_id)
        await raise_up(fence)

    monkeypatch.setattr(Fence, "raise_up", counted)
    owner = CountingOwner()
    async with kafka_world.running(owner) as backbone:
        for round_ in range(20):
            await backbone.append(events(100, first=100 * round_))
            await asyncio.sleep(0.03)  # A load that lasts; nothing is waited for.
        await owner.until(lambda: sum(owner.counts().values()) == 2_000)
        await owner.until(lambda: len(owner.committed_batches) == len(owner.batches))

    assert len(raised) > 2 * PARTITIONS
    inputs, outputs = by_partition(await kafka_world.read(EVENTS)), by_partition(await kafka_world.read(DECISIONS))
    for partition, records in inputs.items():
        every_input_has_its_output(records, outputs.get(partition, []))
    assert {len(await kafka_world.claims(partition)) for partition in range(PARTITIONS)} == {1}
