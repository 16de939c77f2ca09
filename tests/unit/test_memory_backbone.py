"""The backbone in memory keeps what the port promises, and can be stopped between any two durable steps."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from control_plane.adapters.memory import Lane, MemoryBackbone, MemoryLog, Order, VirtualClock
from control_plane.messages import topics
from control_plane.ports.backbone import BATCHES_IN_FLIGHT_MAX, Commit, Output, Record, RowReader, RowWrite, Start

EVENTS, DECISIONS = topics.EVENTS, topics.DECISIONS


class Counting:
    """An owner that counts records in one row and says each of them aloud."""

    def __init__(self) -> None:
        self.taken: list[int] = []
        self.committed_up_to = 0
        self.start: Start | None = None
        self.revocations = 0

    async def assigned(self, partition: int, rows: RowReader, start: Start) -> None:
        self.start = start
        self.rows = rows

    async def take(self, partition: int, records: Sequence[Record]) -> Commit:
        self.taken += [record.offset for record in records]
        return Commit(
            batch_offset=records[0].offset,
            rows=(
                RowWrite(b"a", b"held %d" % records[-1].offset, b"released %d" % records[-1].offset),
                RowWrite(b"b", b"b", b"b"),
            ),
            outputs=tuple(Output(DECISIONS, b"k", record.value, partition) for record in records),
            next_offset=records[-1].offset + 1,
            mark=b"mark %d" % records[-1].offset,
        )

    def committed(self, partition: int, commit: Commit) -> None:
        assert commit.next_offset > self.committed_up_to, "commits are told in order"
        self.committed_up_to = commit.next_offset

    async def revoked(self, partition: int) -> None:
        self.revocations += 1


def filled(records: int = 10, partitions: int = 1) -> MemoryLog:
    log = MemoryLog(VirtualClock().now_ms, partitions=partitions)
    log.append([Output(EVENTS, b"k", b"%d" % number, 0) for number in range(records)])
    return log


def said(log: MemoryLog) -> list[bytes]:
    return [record.value for record in log.read(DECISIONS, 0)]


async def lane_of(log: MemoryLog, order: Order) -> tuple[Lane, Counting]:
    owner = Counting()
    lane = Lane(log, 0, owner, order)
    await lane.assign()
    return lane, owner


async def test_records_are_taken_in_order_and_without_a_gap() -> None:
    lane, owner = await lane_of(filled(), "atomic")

    while await lane.take(3):
        lane.advance()

    assert owner.taken == list(range(11)), "ten records and the claim"


async def test_no_more_batches_are_taken_than_may_be_in_flight() -> None:
    lane, _ = await lane_of(filled(), "stepwise")

    taken = [await lane.take(1) for _ in range(BATCHES_IN_FLIGHT_MAX + 1)]

    assert taken == [True] * BATCHES_IN_FLIGHT_MAX + [False]
    while lane.advance():
        pass
    assert await lane.take(1)


async def test_in_one_write_nothing_is_durable_or_everything() -> None:
    log = filled()
    lane, owner = await lane_of(log, "atomic")
    await lane.take(2)
    assert (log.rows[0], said(log), owner.committed_up_to) == ({}, [], 0)

    lane.advance()

    assert log.rows[0][b"a"] == b"released 1"
    assert said(log) == [b"0", b"1"]
    assert owner.committed_up_to == 2


async def test_step_by_step_no_output_comes_before_the_rows_and_no_offset_before_the_outputs() -> None:
    log = filled()
    lane, owner = await lane_of(log, "stepwise")
    await lane.take(2)

    assert not lane.write_output()
    assert not lane.write_offset()
    assert lane.write_row()
    assert not lane.write_output(), "one of two rows is not enough"
    assert lane.write_row()
    assert log.rows[0][b"a"] == b"held 1"
    assert lane.write_output()
    assert not lane.write_offset()
    assert lane.write_output()
    assert owner.committed_up_to == 0
    assert lane.write_offset()
    assert owner.committed_up_to == 2


async def test_step_by_step_a_later_batch_waits_for_the_earlier_one_at_every_step() -> None:
    log = filled()
    lane, _ = await lane_of(log, "stepwise")
    await lane.take(1)
    await lane.take(1)

    assert [lane.write_row() for _ in range(5)] == [True] * 4 + [False]
    assert log.rows[0][b"a"] == b"held 1", "rows of the later batch may be ahead"
    assert lane.write_output()
    assert lane.write_output()
    assert said(log) == [b"0", b"1"]


async def test_after_a_crash_the_partition_goes_on_where_it_was_committed() -> None:
    log = filled()
    lane, _ = await lane_of(log, "stepwise")
    await lane.take(4)
    while lane.advance():
        pass
    await lane.take(4)
    lane.write_row()

    lane, owner = await lane_of(log, "stepwise")
    await lane.take(1)

    assert owner.start is not None
    assert (owner.start.next_offset, owner.start.mark) == (4, b"mark 3")
    assert owner.start.record_before == next(iter(log.read(EVENTS, 0, 3)))
    assert owner.rows.get(b"a") == b"held 7"
    assert dict(owner.rows.scan()) == {b"a": b"held 7", b"b": b"b"}
    assert owner.taken == [4]


async def test_append_times_never_go_back() -> None:
    times = iter([5, 3, 9])
    log = MemoryLog(lambda: next(times))

    log.append([Output(EVENTS, b"k", b"", 0) for _ in range(3)])

    assert [record.recorded_ms for record in log.read(EVENTS, 0)] == [5, 5, 9]


async def test_a_key_always_chooses_the_same_partition() -> None:
    log = MemoryLog(VirtualClock().now_ms, partitions=4)
    keys = [b"service/web-%d" % number for number in range(50)]

    first = [position.partition for position in log.append([Output(EVENTS, key, b"") for key in keys])]
    second = [position.partition for position in log.append([Output(EVENTS, key, b"") for key in keys])]

    assert first == second
    assert set(first) == {0, 1, 2, 3}


class Listening:
    """A member of a group beside the loop."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []

    async def take(self, topic: str, partition: int, records: Sequence[Record]) -> None:
        self.heard += [record.value for record in records]


@pytest.fixture
async def running() -> AsyncIterator[tuple[MemoryBackbone, MemoryLog, Counting, Listening]]:
    log, owner, listener = filled(0), Counting(), Listening()
    backbone = MemoryBackbone(log)
    backbone.own_events(owner)
    backbone.join("recorder", [DECISIONS], listener)
    await backbone.start()
    yield backbone, log, owner, listener
    await backbone.crash()


async def test_settled_means_that_everything_was_taken_by_everybody(
    running: tuple[MemoryBackbone, MemoryLog, Counting, Listening],
) -> None:
    backbone, _, owner, listener = running

    for number in range(500):
        await backbone.append([Output(EVENTS, b"k", b"%d" % number, 0)])
    await backbone.settle()

    assert owner.taken == list(range(501)), "the claim and what was appended"
    assert listener.heard[1:] == [b"%d" % number for number in range(500)]


async def test_what_an_owner_raises_is_raised_by_settle() -> None:
    class Broken(Counting):
        async def take(self, partition: int, records: Sequence[Record]) -> Commit:
            raise RuntimeError("broken")

    backbone = MemoryBackbone(filled(1))
    backbone.own_events(Broken())
    await backbone.start()

    with pytest.raises(RuntimeError, match="broken"):
        await backbone.settle()


async def test_stopping_commits_what_was_taken_and_tells_the_owner(
    running: tuple[MemoryBackbone, MemoryLog, Counting, Listening],
) -> None:
    backbone, log, owner, _ = running
    await backbone.append([Output(EVENTS, b"k", b"x", 0)])

    await backbone.stop()

    assert log.start_of("loop", 0).next_offset == 2
    assert owner.revocations == 1


async def test_a_group_goes_on_where_it_was_in_another_process(
    running: tuple[MemoryBackbone, MemoryLog, Counting, Listening],
) -> None:
    backbone, log, _, _ = running
    await backbone.append([Output(DECISIONS, b"k", b"before", 0)])
    await backbone.stop()

    again, listener = MemoryBackbone(log), Listening()
    again.join("recorder", [DECISIONS], listener)
    await again.start()
    await again.append([Output(DECISIONS, b"k", b"after", 0)])
    await again.stop()

    assert listener.heard == [b"after"]


async def test_a_virtual_clock_wakes_who_slept_long_enough_and_nobody_else() -> None:
    clock = VirtualClock()
    woken: list[float] = []

    async def sleep(seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append(seconds)

    sleepers = [asyncio.create_task(sleep(seconds)) for seconds in (1.0, 2.0)]
    await asyncio.sleep(0)
    clock.advance(1_500)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert woken == [1.0]

    clock.advance(500)
    await asyncio.gather(*sleepers)
    assert woken == [1.0, 2.0]
