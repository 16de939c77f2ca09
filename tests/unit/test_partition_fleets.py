"""Fleets counted in a partition and told to the others: never is more of one acted on than its intent allows."""

import json
from random import Random
from typing import Any

import pytest
from msgspec.structs import replace

from control_plane.messages import Question, Ruling, topics
from control_plane.messages.summary import (
    SUMMARY_AGE_MAX_MS,
)
from control_plane.ports.policy_engine import PolicySet
from control_plane.replay import replay
from tests import builders
from tests.unit.fleet_world import CONTROLS, JUDGED, PLAIN, Unhurried, World, subjects


@pytest.mark.parametrize("controls", [PLAIN, JUDGED], ids=["all healthy", "sick ones down"])
@pytest.mark.parametrize("concurrent", [False, True])
@pytest.mark.parametrize("records_max", [1, 3, 200])
async def test_of_ten_that_fall_sick_at_once_four_are_acted_on(
    controls: builders.ControlSet, concurrent: bool, records_max: int
) -> None:
    world = await World(controls, engine=Unhurried() if concurrent else None).begin(members=10)

    world.sick(*subjects(10))
    await world.settle(records_max)

    assert world.commands() == subjects(4)
    assert world.last() == (
        "fleet_share",
        "with service/web-9 5 of 10 members of the fleet web would be down; at most 0.4 of it may be"
        if controls is PLAIN
        else "with service/web-9 10 of 10 members of the fleet web would be down; at most 0.4 of it may be",
    )


async def test_a_place_is_free_again_when_an_outcome_comes_back() -> None:
    world = await World().begin(members=10)
    world.sick(*subjects(10))
    await world.settle()

    world.come_back(0)

    assert await world.proposed("service/web-8") == "fine"
    assert await world.proposed("service/web-9") == "fleet_share"


async def test_a_small_fleet_is_acted_on_one_at_a_time() -> None:
    world = await World().begin(members=9)

    world.sick(*subjects(9))
    await world.settle()
    assert world.commands() == ["service/web-0"]

    world.come_back()
    assert await world.proposed("service/web-5") == "fine"


async def test_members_that_retire_make_the_fleet_smaller_and_new_ones_larger() -> None:
    world = await World().begin(members=12)
    world.sick(*subjects(4))
    await world.settle()

    world.send(builders.retired("service/web-10"), builders.retired("service/web-11"))
    assert await world.proposed("service/web-4") == "fleet_share"
    world.send(*[builders.registered(f"service/new-{number}") for number in range(3)])
    assert await world.proposed("service/web-4") == "fine"


async def test_a_member_that_retires_with_a_live_command_counts_no_more() -> None:
    world = await World().begin(members=2)
    assert await world.proposed("service/web-0") == "fine"
    assert await world.proposed("service/web-1") == "fleet_busy"

    world.send(builders.retired("service/web-0"))

    assert await world.proposed("service/web-1") == "fine"


@pytest.mark.parametrize(
    ("subject", "code"),
    [
        ("service/unheard-of", "not_registered"),
        ("service/*", "not_registered"),
        ("service/web-1 ", "not_registered"),
        ("service/", "subject_malformed"),
        ("door/north", "subject_kind"),
    ],
)
async def test_an_unknown_empty_or_wildcard_target_is_nothing(subject: str, code: str) -> None:
    world = await World().begin(members=10)

    world.sick(subject)
    await world.settle()

    letters = [json.loads(record.value)["data"]["code"] for record in world.log.read(topics.DEAD_LETTERS, 0)]
    assert letters == [code] if letters else world.last()[0] == code
    assert world.commands() == []


async def test_the_same_target_many_times_is_acted_on_once() -> None:
    world = await World().begin(members=10)

    world.sick(*["service/web-3"] * 20)
    await world.settle()

    assert world.commands() == ["service/web-3"]


@pytest.mark.parametrize("seed", range(150))
async def test_whatever_comes_in_which_order_never_is_more_than_the_limit_acted_on(seed: int) -> None:
    random = Random(seed)
    members = random.choice((1, 2, 9, 10, 13, 25))
    world = await World(engine=random.choice((None, Unhurried()))).begin(members=members)
    open_commands: set[int] = set()

    for _ in range(25):
        world.sick(*[f"service/web-{random.randrange(members + 2)}" for _ in range(random.randrange(6))])
        if open_commands and random.random() < 0.5:
            done = random.choice(sorted(open_commands))
            open_commands.remove(done)
            world.come_back(done, random.choice(("succeeded", "failed", "unknown")))
        if random.random() < 0.2:
            world.send(builders.registered(f"service/web-{members}", message_id=f"r{random.random()}"))
            members += 1
        if random.random() < 0.1:
            await world.take_over()
        before = len(world.commands())
        await world.settle(random.choice((1, 4, 200)))
        open_commands.update(range(before, len(world.commands())))

        allowed = max(1, int(members * 0.4 + 1e-9)) if members >= 10 else 1
        assert len(open_commands) <= allowed
    assert len(world.commands()) >= 3


class TestOtherPartitions:
    async def test_what_is_down_there_counts_here(self) -> None:
        world = await World(partitions=2).begin(members=10)
        world.tell(size=10, healthy=4, down=6)

        assert await world.proposed("service/web-0") == "fine"
        assert await world.proposed("service/web-1") == "fleet_untold"
        assert world.last()[1] == (
            "1 of the fleet web went down here that the other partitions were not told of yet; until they are, no more "
            "than 1 may"
        )
        world.tell(size=10, healthy=4, down=6)
        assert await world.proposed("service/web-1") == "fine"
        assert await world.proposed("service/web-2") == "fleet_share"
        assert world.last()[1].startswith("with service/web-2 9 of 20 members of the fleet web would be down")

    async def test_one_that_was_never_heard_of_makes_the_share_unknown(self) -> None:
        world = await World(partitions=2).begin(members=10, told=False)
        assert await world.proposed("service/web-0") == "fleet_share_unknown"
        assert world.last()[1].endswith("nothing was told of the partitions yet")

        world.send(builders.summarised(partitions=2))

        assert await world.proposed("service/web-0") == "fleet_share_unknown"
        assert world.last()[1] == "the share of the fleet web is not known: partition 1 was never heard of"

    async def test_one_that_was_not_heard_of_for_long_does_so_too(self) -> None:
        world = await World(partitions=2).begin(members=10)
        world.clock.advance(SUMMARY_AGE_MAX_MS)
        assert await world.proposed("service/web-0") == "fine"

        world.clock.advance(1)

        assert await world.proposed("service/web-1") == "fleet_share_unknown"
        assert world.last()[1].endswith(
            f"partition 1 was last heard of {SUMMARY_AGE_MAX_MS + 1} ms ago, and after {SUMMARY_AGE_MAX_MS} ms it is "
            "not known any more"
        )
        world.tell()
        assert await world.proposed("service/web-1") == "fine"

    async def test_one_that_counts_under_another_definition_does_so_too(self) -> None:
        world = await World(partitions=2).begin(members=10)
        world.tell(revision="other")  # type: ignore[arg-type]

        assert await world.proposed("service/web-0") == "fleet_share_unknown"
        assert world.last()[1].endswith("partition 1 counts it under another definition")

    async def test_what_was_told_outlives_the_owner(self) -> None:
        world = await World(partitions=2).begin(members=10)
        world.tell(size=10, healthy=4, down=6)
        await world.settle()

        await world.take_over()

        assert [await world.proposed(subject) for subject in subjects(2)] == ["fine", "fleet_untold"]

    @pytest.mark.parametrize(
        "data",
        [
            {},
            {"partitions": 0, "counts": {}},
            {"partitions": 1, "counts": {"x": {}}},
            {"partitions": 1, "counts": {"0": {"web": {"revision": "r", "size": -1}}}},
            {"partitions": 1, "counts": {}, "more": 1},
        ],
    )
    async def test_what_is_no_summary_is_a_dead_letter_and_changes_nothing(self, data: dict[str, Any]) -> None:
        world = await World().begin(members=10)
        world.send(builders.event("partition.summarised", data, subject="partition/0", source="setpoint"))

        assert await world.proposed("service/web-0") == "fine"
        (letter,) = (json.loads(record.value)["data"] for record in world.log.read(topics.DEAD_LETTERS, 0))
        assert letter["code"] == "schema_broken"

    async def test_nobody_else_may_summarise_or_write_into_a_partitions_own_row(self) -> None:
        world = await World().begin(members=10)
        forged = builders.summarised(partitions=7)
        world.send(builders.event("partition.summarised", forged.data, subject="partition/0", source="somebody"))
        world.sick("partition/0")

        assert await world.proposed("service/web-0") == "fine"
        letters = [json.loads(record.value)["data"]["code"] for record in world.log.read(topics.DEAD_LETTERS, 0)]
        assert letters == ["type_reserved", "subject_reserved"]


async def test_other_fleets_count_from_the_record_that_adopts_them() -> None:
    world = await World().begin(members=10)
    world.send(builders.adopted(JUDGED.revision))

    assert await world.proposed("service/web-0") == "fleet_share", "whose health is not known is not healthy"
    assert world.last()[1].startswith("with service/web-0 10 of 10 members")
    world.sick(*subjects(10), rss=1.0)
    world.sick(*subjects(10), rss=350.0)
    await world.settle()
    assert world.commands() == subjects(4)


class Recovering:
    """An engine that does not rule at first."""

    concurrent = False

    def __init__(self, faults: int) -> None:
        self.faults = faults

    async def rule(self, question: Question, policies: PolicySet) -> Ruling:
        self.faults -= 1
        return Ruling.none("it is starting") if self.faults >= 0 else builders.allow(question)


async def test_rows_that_a_crash_left_ahead_are_not_told_of_as_they_were_before() -> None:
    """Both commands may be under way already: whoever was told that nothing is would take their places."""
    world = await World(order="stepwise").begin(members=10)
    world.sick("service/web-0", "service/web-1")
    await world.lane.take()
    for _ in world.lane._in_flight[-1].commit.rows:
        world.lane.write_row()

    await world.take_over()
    assert world.owner.to_tell(0) is None

    await world.settle()
    world.sick("service/web-9", rss=1.0)
    await world.settle()
    told = world.owner.to_tell(0)
    assert told is not None
    assert told.counts["web"].in_flight == 2


async def test_a_fault_after_a_crash_is_waited_out_where_a_decision_that_is_stored_hangs_on_the_answer() -> None:
    """web-1 was refused because web-0 was acted on; of the two rows only that of web-1 was stored."""
    world = await World(order="stepwise").begin(members=2)
    world.sick("service/web-0", "service/web-1")
    await world.lane.take()
    newest = world.lane._in_flight[-1]
    newest.commit = replace(newest.commit, rows=newest.commit.rows[::-1])
    world.lane.write_row()

    world.engine = Recovering(faults=3)
    await world.take_over()
    await world.settle()

    assert world.commands() == ["service/web-0"]
    assert world.engine.faults < 0
    assert world.last()[0] == "fleet_busy"
    assert (await replay(world.log, CONTROLS, builders.ScriptedEngine())).equal


async def test_a_fault_ends_the_batch_so_that_nothing_hangs_on_it_unstored() -> None:
    world = await World(engine=Recovering(faults=1)).begin(members=3)
    begins = world.log.bounds(topics.EVENTS, 0)[1]
    world.sick(*subjects(3))

    await world.lane.take()

    (taken,) = world.lane._in_flight
    assert (taken.commit.batch_offset, taken.commit.next_offset) == (begins, begins + 1)
    while world.lane.advance():
        pass
    await world.settle()
    assert world.commands() == ["service/web-1"]


async def test_a_replay_counts_the_same() -> None:
    world = await World(JUDGED).begin(members=12)
    for round_of in range(4):
        world.sick(*subjects(12), rss=390.0 + 5 * round_of)
        world.tell()
        await world.settle(5)
        world.come_back()
    await world.settle()

    for size in (1, 7, 200):
        report = await replay(world.log, CONTROLS, builders.ScriptedEngine(), batch_records=size)
        assert report.equal
