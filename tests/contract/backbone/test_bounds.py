"""What may be large stays within what every log takes, and a batch that leads to more is taken in several goes."""

import json
import time
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import pytest

from control_plane.messages import topics
from control_plane.messages.topics import DECISIONS, EVENTS
from control_plane.messages.wire import encode_event
from control_plane.partition import Partitions
from control_plane.partition.rows import HELD_BYTES_MAX
from control_plane.ports.backbone import (
    BATCH_BYTES_MAX,
    COMMIT_BYTES_MAX,
    RECORD_BYTES_MAX,
    Commit,
    Output,
    Record,
    RowWrite,
)
from state.rows import ROW_BYTES_MAX
from tests import builders
from tests.contract.backbone.owners import Changed, CountingOwner
from tests.contract.backbone.world import World

HOT_EVENTS = 80
LARGE = "x" * 10_000


async def test_a_batch_is_cut_where_its_records_pass_the_limit(world: World) -> None:
    owner = CountingOwner()
    record_bytes = BATCH_BYTES_MAX // 8
    async with world.running(owner) as backbone:
        owner.gate.clear()
        for _ in range(6):
            await backbone.append([Output(EVENTS, b"k", b"x" * record_bytes, 0) for _ in range(5)])
        owner.gate.set()
        await owner.until(lambda: len(owner.taken) == 30)
        waiting = world.fetched_ahead(backbone)

    starts = [*sorted(offset for _, offset in owner.batches), 31]
    assert all((after - before) * record_bytes <= BATCH_BYTES_MAX for before, after in pairwise(starts))
    assert waiting == 0


async def test_a_record_that_is_larger_than_a_batch_comes_alone(world: World) -> None:
    owner = CountingOwner()
    sizes = [10, 2 * BATCH_BYTES_MAX, 10]
    async with world.running(owner) as backbone:
        owner.gate.clear()
        await backbone.append([Output(EVENTS, b"k", b"x" * size, 0) for size in sizes])
        owner.gate.set()
        await owner.until(lambda: len(owner.taken) == 3)

    assert [len(record.value) for record in owner.taken] == sizes
    assert (0, 2) in owner.batches, "the second one; the claim comes before the first"
    assert (0, 3) in owner.batches


class Sparing(CountingOwner):
    """Takes two records of each batch; what is left must not come before they are durable."""

    left = 0

    async def take(self, partition: int, records: Sequence[Record]) -> Commit:
        assert not self.left or self._in_flight[partition] == 0, "what was taken before is not durable"
        self.left = len(records[2:])
        return await super().take(partition, records[:2])


async def test_what_an_owner_leaves_of_a_batch_comes_again_once_the_rest_is_durable(world: World) -> None:
    owner = Sparing()
    async with world.running(owner) as backbone:
        await backbone.append([Output(EVENTS, b"k%d" % (n % 3), b"event %d" % n, 0) for n in range(301)])
        await owner.until(lambda: len(owner.taken) == 301)
        await owner.until(lambda: len(owner.committed_batches) == len(owner.batches))
        outputs = await world.read(DECISIONS)

    assert [record.value for record in owner.taken] == [b"event %d" % n for n in range(301)]
    assert len(outputs) == 301


async def test_the_largest_row_and_the_largest_commit_can_be_written_and_come_back(world: World) -> None:
    row = b"r" * (RECORD_BYTES_MAX - 4_096)

    class Large(CountingOwner):
        def _commit(self, partition: int, records: Sequence[Record]) -> Commit:
            outputs = [Output(DECISIONS, b"k", b"o" * 4_000_000, partition)] * 3
            rows = (RowWrite(b"large", row, row),)
            assert len(row) + 12_000_000 < COMMIT_BYTES_MAX
            return Commit(
                batch_offset=records[0].offset,
                rows=rows,
                outputs=tuple(outputs),
                next_offset=records[-1].offset + 1,
                mark=b"m",
            )

    owner = Large()
    async with world.running(owner) as backbone:
        await backbone.append([Output(EVENTS, b"k", b"v", 0)])
        await owner.until(lambda: len(owner.committed_batches) == 1)
        stored = owner.readers[0].get(b"large")

    again = CountingOwner()
    async with world.running(again, worker="two"):
        await again.until(lambda: 0 in again.readers)
        recovered = again.readers[0].get(b"large")

    assert (stored, recovered) == (row, row)


class Loop(Partitions, Changed):
    """The real owner, with agents that have much to say; keeps the size of each row."""

    def __init__(self) -> None:
        proposing = 'return [context.propose("restart_service", because="loudly", nth=n) for n in range(8)]'
        loud = [builders.agent(f"loud_{number}", proposing) for number in range(4)]
        self.set = builders.control_set(builders.intent(), builders.row(), *loud)
        Changed.__init__(self)
        Partitions.__init__(self, engine=builders.ScriptedEngine(builders.deny), controls=builders.ControlsAt(self.set))
        self.row_bytes_max = 0
        self.committed_below = 0

    async def take(self, partition: int, records: Sequence[Record]) -> Commit:
        commit = await super().take(partition, records)
        self.row_bytes_max = max([self.row_bytes_max, *(len(row.value) for row in commit.rows)])
        return commit

    def committed(self, partition: int, commit: Commit) -> None:
        super().committed(partition, commit)
        self.committed_below = max(self.committed_below, commit.next_offset)
        self.changed()


@pytest.mark.timeout(120)
async def test_a_hot_subject_with_large_decisions_passes_and_no_row_outgrows_a_record(world: World) -> None:
    owner = Loop()
    now_ms = round(time.time() * 1000)
    events = [
        builders.output(builders.event(data={"note": LARGE}, message_id=f"e{number}", at_ms=now_ms), 0)
        for number in range(HOT_EVENTS)
    ]
    adopted = Output(EVENTS, b"k", encode_event(builders.adopted(owner.set.revision)), 0)

    async with world.running() as backbone:
        await backbone.append([adopted, *events])
    async with world.running(owner):
        await owner.until(lambda: owner.committed_below > HOT_EVENTS, timeout_s=60)
        records = await world.read(topics.VERDICTS)
    verdicts = [json.loads(record.value)["id"] for record in records]

    assert sum(len(record.value) for record in records) > RECORD_BYTES_MAX, "it would not outgrow one anyway"
    assert Counter(verdicts).most_common(1)[0][1] == 1
    assert len(verdicts) == 32 * HOT_EVENTS
    assert owner.row_bytes_max <= ROW_BYTES_MAX + HELD_BYTES_MAX + 4_096
