"""A lane goes back to a hole, and never over it."""

import asyncio

import pytest
from faust.types import TP

from control_plane.adapters.faust.lane import GAPS_MAX, Lane, LaneEnded
from control_plane.errors import ContinuityBroken
from control_plane.ports.backbone import BATCH_RECORDS_MAX, Record
from tests.contract.backbone.owners import CountingOwner
from tests.contract.backbone.world import World, events

HERE = TP("events.v1", 0)


class NotedGate:
    """Remembers what the lane asked of its consumer."""

    def __init__(self) -> None:
        self.calls: list[object] = []

    def open(self, tp: TP) -> None:
        self.calls.append("open")

    def shut(self, tp: TP) -> None:
        self.calls.append("shut")

    def seek_back(self, tp: TP, offset: int) -> None:
        self.calls.append(offset)


def lane_at(next_offset: int, gate: NotedGate, *, dense: bool = True) -> Lane:
    return Lane(
        HERE, gate, next_offset=next_offset, generation=0, dense=dense, failed=pytest.fail, stopped=never_stopped
    )


def never_stopped(lane: Lane, broken: ContinuityBroken) -> None:
    pytest.fail(str(broken))


def records(*offsets: int) -> list[Record]:
    return [
        Record(topic=HERE.topic, partition=0, offset=offset, key=b"k", value=b"v", recorded_ms=0) for offset in offsets
    ]


@pytest.mark.parametrize("found", [(8, 9), (6, 7), (7, 9), (7, 8, 10)])
async def test_what_does_not_follow_is_fetched_again(found: tuple[int, ...]) -> None:
    gate = NotedGate()
    lane = lane_at(7, gate)

    lane.feed(records(*found))
    assert gate.calls == [7]

    lane.feed(records(7, 8, 9))
    assert [record.offset for record in await lane.next_batch()] == [7, 8, 9]


async def test_a_hole_that_stays_ends_the_lane() -> None:
    gate = NotedGate()
    lane = lane_at(7, gate)

    for _ in range(GAPS_MAX + 1):
        lane.feed(records(9))

    assert gate.calls == [*[7] * GAPS_MAX, "shut"]
    with pytest.raises(ContinuityBroken, match="offset 7 must come next, the log goes on at 9"):
        await lane.next_batch()


async def test_what_was_fetched_before_the_hole_is_still_taken() -> None:
    lane = lane_at(0, NotedGate())
    lane.feed(records(0, 1))
    lane.feed(records(3))

    assert [record.offset for record in await lane.next_batch()] == [0, 1]


async def test_a_compacted_topic_may_have_holes() -> None:
    gate = NotedGate()
    lane = lane_at(0, gate, dense=False)

    lane.feed(records(2, 5))
    lane.feed(records(9))

    assert [record.offset for record in await lane.next_batch()] == [2, 5, 9]


async def test_a_full_lane_shuts_its_gate_and_opens_it_when_there_is_room() -> None:
    gate = NotedGate()
    lane = lane_at(0, gate)

    lane.feed(records(*range(BATCH_RECORDS_MAX)))
    assert gate.calls == ["shut"]

    await lane.next_batch()
    assert gate.calls == ["shut", "open"]


async def test_an_ended_lane_gives_no_batch() -> None:
    lane = lane_at(0, NotedGate())
    lane._task = asyncio.create_task(asyncio.sleep(0))
    lane.feed(records(0))
    await lane.end()

    with pytest.raises(LaneEnded):
        await lane.next_batch()


async def test_a_fetch_position_that_jumps_is_noticed_and_nothing_is_lost(world: World) -> None:
    owner = CountingOwner()
    async with world.running(owner) as backbone:
        await backbone.append(events(10, keys=1))
        await owner.until(lambda: len(owner.taken) == 10)
        consumer = backbone._apps[0].consumer
        [tp] = [
            TP(tp.topic, tp.partition) for tp in backbone._owner_part.lanes if owner.taken[0].partition == tp.partition
        ]
        await consumer.seek_all({tp: 15})
        await backbone.append(events(30, keys=1, first=10))
        await owner.until(lambda: len(owner.taken) == 40)

    assert [record.value for record in owner.taken] == [b"event %d" % n for n in range(40)]
