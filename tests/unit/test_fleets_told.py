"""What owners tell the partitions of fleets and sources, and what follows from it there."""

import json
from typing import Any

import pytest
from msgspec.structs import replace

from control_plane.adapters.memory import Lane, MemoryBackbone, MemoryLog, VirtualClock
from control_plane.caretaker import Caretaker
from control_plane.messages import topics
from control_plane.messages.summary import (
    FLEET_SUMMARY_INTERVAL_MS,
    FLEET_SUMMARY_REPEAT_MS,
    HEARD_SOURCES_MAX,
    SUMMARY_AGE_MAX_MS,
    FleetCount,
    PartitionsSummary,
)
from control_plane.partition import Partitions
from control_plane.partition.told import Told, merged_heard
from control_plane.replay import replay
from tests import builders
from tests.builders import NOW_MS
from tests.unit.fleet_world import Unhurried

LIMITED = builders.intent(limits={"fleet_share_max": 0.4}, context_age_max="1h")
EAGER = builders.agent("eager", 'return [context.propose("restart_service", because="it may help")]')
PLAIN = builders.control_set(LIMITED, EAGER, builders.fleet())
CONTROLS = builders.ControlsAt(PLAIN)
COUNT = FleetCount(revision="r1", size=2, healthy=1, in_flight=0, down=1)


class TestTelling:
    """Two partitions in one process, with its caretaker."""

    async def test_until_they_are_told_each_partition_takes_no_more_than_its_part_of_what_is_left(self) -> None:
        found = await Pair().begin()

        for partition, name in enumerate("ab"):
            codes = [await found.proposed(partition, f"service/{name}-{number}") for number in range(5)]
            assert codes == ["fine", "fine", "fleet_untold", "fleet_untold", "fleet_untold"]

        await found.look(FLEET_SUMMARY_INTERVAL_MS)
        assert await found.proposed(0, "service/a-4") == "fleet_share"
        assert await found.proposed(1, "service/b-4") == "fleet_share"

    async def test_what_is_left_may_go_down_in_one_partition_once_the_other_is_told(self) -> None:
        found = await Pair().begin()
        codes = []
        for number in range(5):
            codes.append(await found.proposed(0, f"service/a-{number}"))
            await found.look(FLEET_SUMMARY_INTERVAL_MS)

        assert codes == ["fine"] * 4 + ["fleet_share"]
        assert await found.proposed(1, "service/b-0") == "fleet_share"

    async def test_it_tells_when_something_changed_and_at_most_once_a_second(self) -> None:
        found = await Pair().begin()
        assert len(found.told()) == 1

        await found.proposed(0)
        await found.look(FLEET_SUMMARY_INTERVAL_MS - 1)
        assert len(found.told()) == 1
        await found.look(1)

        assert [count["0"]["web"]["in_flight"] for count in found.told()] == [0, 1]
        await found.look(FLEET_SUMMARY_INTERVAL_MS)
        assert len(found.told()) == 2

    async def test_it_tells_now_and_then_although_nothing_changed(self) -> None:
        found = await Pair().begin()

        await found.look(FLEET_SUMMARY_REPEAT_MS)

        assert len(found.told()) == 2

    async def test_without_fleets_nothing_is_told(self) -> None:
        found = Pair()
        found.wanted = builders.control_set(builders.intent())
        found.source = builders.ControlsAt(found.wanted)

        await found.begin()

        assert found.told() == []


class Pair:
    """A fleet of ten in two partitions."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.log = MemoryLog(self.clock.now_ms, partitions=2)
        self.wanted = PLAIN
        self.source: Any = CONTROLS
        self._events = 0

    async def begin(self) -> "Pair":
        owner = Partitions(engine=builders.ScriptedEngine(), controls=self.source)
        self.backbone = MemoryBackbone(self.log)
        self.backbone.own_events(owner)
        await self.backbone.start()
        self.caretaker = Caretaker(self.backbone, owner, self.clock, lambda: self.wanted.revision)
        await self.look(0)
        for partition, name in enumerate("ab"):
            members = [builders.registered(f"service/{name}-{number}") for number in range(5)]
            await self.backbone.append([builders.output(event, partition) for event in members])
        await self.backbone.settle()
        await self.look(0)
        return self

    async def look(self, after_ms: int) -> None:
        self.clock.advance(after_ms)
        await self.caretaker.look()
        await self.backbone.settle()

    async def proposed(self, partition: int, subject: str = "") -> str:
        self._events += 1
        found = builders.event(subject=subject or f"service/{'ab'[partition]}-1", message_id=f"p{self._events}")
        await self.backbone.append([builders.output(found, partition)])
        await self.backbone.settle()
        verdict = list(self.log.read(topics.VERDICTS, partition))[-1]
        return str(json.loads(verdict.value)["data"]["reasons"][0]["code"])

    def told(self) -> list[dict[str, Any]]:
        events = [json.loads(record.value) for record in self.log.read(topics.EVENTS, 1)]
        return [event["data"]["counts"] for event in events if event["type"] == "partition.summarised"]


class TestRulesThatReadFleets:
    """`fleets.web.healthy_share`: as it stood right before the event, and missing where it is not known."""

    CALM = builders.rule("calm", when="fleets.web.down_share < 0.3", propose={"because": "{fleets.web.down} are down"})
    READ = builders.control_set(builders.intent(), builders.row(), builders.fleet(), CALM)

    async def said(self, *events: builders.Event) -> list[tuple[str, str]]:
        source = builders.ControlsAt(self.READ)
        log = MemoryLog(lambda: NOW_MS)
        lane = Lane(log, 0, Partitions(engine=Unhurried(), controls=source), "atomic")
        await lane.assign()
        log.append([builders.output(event, 0) for event in (builders.adopted(self.READ.revision), *events)])
        while await lane.take():
            lane.advance()
        assert (await replay(log, source, builders.ScriptedEngine(), batch_records=3)).equal
        decisions = [json.loads(record.value) for record in log.read(topics.DECISIONS, 0)]
        return [(decision["subject"], decision["data"]["because"]) for decision in decisions]

    async def test_any_subject_may_be_decided_on_by_them_and_sees_what_came_before(self) -> None:
        members = [builders.registered(f"service/web-{number}") for number in range(10)]
        doors = [
            builders.event(subject=subject, message_id=subject) for subject in ("service/a", "service/b", "service/c")
        ]
        sick = [builders.event(subject=f"service/web-{number}", message_id=f"s{number}") for number in range(3)]

        said = await self.said(builders.summarised(), *members, doors[0], *sick[:2], doors[1], sick[2], doors[2])

        assert said == [
            ("service/a", "0 are down"),
            ("service/web-0", "0 are down"),
            ("service/web-1", "1 are down"),
            ("service/b", "2 are down"),
            ("service/web-2", "2 are down"),
        ]

    async def test_a_fleet_that_is_not_known_or_empty_matches_nothing(self) -> None:
        event = builders.event()

        assert await self.said(builders.registered(), event) == []
        assert await self.said(builders.summarised(), event) == []


class TestTheRowOfAPartition:
    """What it was told is stored so that it can be had as of any record that may come again."""

    @staticmethod
    def told(*batches: list[int], acknowledged: int = 0) -> bytes:
        """The row after batches of summaries at these offsets, each heard at its offset."""
        told, stored = Told(0), b""
        for batch in batches:
            for offset in batch:
                summary = PartitionsSummary(partitions=1, counts={}, heard={"probe": offset})
                told.fold(builders.record(b"", offset), summary)
            written = told.write(0)
            stored = written.value if written is not None else stored
            told.acknowledged(acknowledged)
        return stored

    @pytest.mark.parametrize(
        ("next_offset", "heard"), [(1, {}), (4, {"probe": 3}), (9, {"probe": 8}), (99, {"probe": 8})]
    )
    def test_it_is_had_as_it_was_before_any_batch_that_comes_again(
        self, next_offset: int, heard: dict[str, int]
    ) -> None:
        stored = self.told([1, 3], [], [5, 8])

        assert Told(0, stored, next_offset).heard == heard

    def test_what_cannot_come_again_is_not_kept(self) -> None:
        batches = [[number] for number in range(40)]

        assert len(self.told(*batches, acknowledged=99)) < 300 < len(self.told(*batches))

    def test_a_record_that_comes_again_changes_nothing(self) -> None:
        told = Told(0, self.told([1, 3]), 99)

        told.fold(builders.record(b"", 3), PartitionsSummary(partitions=1, counts={}, heard={"probe": 77}))

        assert told.write(0) is None
        assert told.heard == {"probe": 3}

    def test_a_partition_that_is_told_of_no_more_is_remembered_until_it_is_too_old(self) -> None:
        told = Told(0)
        told.fold(
            builders.record(b"", 1), PartitionsSummary(partitions=3, counts={"1": {"web": COUNT}, "2": {"web": COUNT}})
        )
        told.fold(
            builders.record(b"", 2, recorded_ms=NOW_MS + 5),
            PartitionsSummary(partitions=3, counts={"1": {"web": COUNT}}),
        )

        assert told.elsewhere("web", "r1", NOW_MS + SUMMARY_AGE_MAX_MS) == [COUNT, COUNT]
        assert told.elsewhere("web", "r1", NOW_MS + SUMMARY_AGE_MAX_MS + 1) == (
            f"partition 2 was last heard of {SUMMARY_AGE_MAX_MS + 1} ms ago, and after {SUMMARY_AGE_MAX_MS} ms it is "
            "not known any more"
        )

    def test_what_a_former_owner_tells_once_more_is_not_believed(self) -> None:
        told, fewer = Told(0), replace(COUNT, down=0)
        for offset, (epoch, count) in enumerate([(7, COUNT), (6, fewer)], 1):
            of_one = {"1": {"web": count}}
            told.fold(builders.record(b"", offset), PartitionsSummary(partitions=2, counts=of_one, epochs={"1": epoch}))
        assert told.elsewhere("web", "r1", NOW_MS) == [COUNT]

        newer = PartitionsSummary(partitions=2, counts={"1": {"web": fewer}}, epochs={"1": 8})
        told.fold(builders.record(b"", 3), newer)
        assert told.elsewhere("web", "r1", NOW_MS) == [fewer]


class TestSources:
    def test_of_each_the_newest_counts_and_of_too_many_those_heard_last(self) -> None:
        many = {f"s{number:03}": number for number in range(HEARD_SOURCES_MAX)}

        assert merged_heard({"probe": 5, "door": 7}, {"probe": 3, "x": 1}) == {"door": 7, "probe": 5, "x": 1}
        assert merged_heard(many, {"new": 1}) == {"new": 1, **{name: at for name, at in many.items() if at}}

    async def test_an_owner_hears_foreign_ones_only(self) -> None:
        log = MemoryLog(lambda: NOW_MS)
        owner = Partitions(engine=builders.ScriptedEngine(), controls=CONTROLS)
        lane = Lane(log, 0, owner, "atomic")
        await lane.assign()
        adopted = builders.adopted(PLAIN.revision)
        foreign = [builders.event(source=f"s{number:03}", message_id=f"{number}") for number in range(3)]

        log.append([builders.output(event, 0) for event in (adopted, builders.tick(), builders.registered(), *foreign)])
        await lane.take()

        told = owner.to_tell(0)
        assert told is not None
        assert told.heard == dict.fromkeys(["test", "s000", "s001", "s002"], NOW_MS)
        assert told.counts["web"].size == 1

    async def test_a_source_is_told_of_at_once_where_a_rule_waits_for_it_and_else_with_the_next_summary(self) -> None:
        silence = builders.rule("silent", on="service.measured", when="true", absent="10s")
        for items, told in ((silence,), 2), ((builders.fleet(),), 1):
            found = Pair()
            found.wanted = builders.control_set(builders.intent(), builders.row(), *items)
            found.source = builders.ControlsAt(found.wanted)
            await found.begin()
            await found.look(FLEET_SUMMARY_INTERVAL_MS)
            before = len(found.told())

            heard = builders.event(data={"rss": 1.0}, source="new", message_id="new")
            await found.backbone.append([builders.output(heard, 0)])
            await found.backbone.settle()
            await found.look(FLEET_SUMMARY_INTERVAL_MS)

            assert len(found.told()) - before == told - 1
