"""Reference data at work: the same table in rules, rows, fleets and policies, in force from a record on."""

import json
from typing import Any

import msgspec
import pytest

from control_plane.adapters.memory import Lane, MemoryLog
from control_plane.adapters.regorus import RegorusEngine
from control_plane.catalogue import ControlSet
from control_plane.catalogue.controls import Policies
from control_plane.messages import topics
from control_plane.partition import Partitions
from control_plane.replay import replay
from control_plane.workspace.control_log import ControlLog, outputs_to_publish
from tests import builders
from tests.builders import NOW_MS


def sites(**regions: str) -> builders.ControlItem:
    rows = {site: {"site": site, "region": region} for site, region in regions.items()}
    return builders.item("reference", "sites", {"reference": "sites", "key": "site", "rows": rows})


IN_EUROPE = 'reference.sites[data.site].region == "eu"'
RULE = builders.rule(when=IN_EUROPE, propose={"because": "{data.site} is in {reference.sites[data.site].region}"})
PLACE = builders.row("place", fields={"region": {"last": "reference.sites[data.site].region"}})
FIRST = builders.control_set(builders.intent(), PLACE, RULE, sites(north="eu", south="af"))
SECOND = builders.control_set(builders.intent(), PLACE, RULE, sites(north="us", south="eu"))
PERMIT = """package setpoint.permits.sites
allow contains {"code": "europe", "msg": "it is in Europe"} if {
	data.reference.sites[input.event.data.site].region == "eu"
}
"""


class World:
    """One partition."""

    def __init__(self, *sets: ControlSet, engine: Any = None) -> None:
        self.log = MemoryLog(lambda: NOW_MS)
        self.source = builders.ControlsAt(*sets)
        self.engine = engine or builders.ScriptedEngine()
        self.lane = Lane(self.log, 0, Partitions(engine=self.engine, controls=self.source), "atomic")

    async def take(self, *events: builders.Event) -> "World":
        await self.lane.assign()
        self.log.append([builders.output(event, 0) for event in events])
        while await self.lane.take():
            self.lane.advance()
        return self

    def said(self, topic: str) -> list[dict[str, Any]]:
        return [json.loads(record.value) for record in self.log.read(topic, 0)]


def at(site: str | None, subject: str) -> builders.Event:
    return builders.event(data={} if site is None else {"site": site}, subject=f"service/{subject}")


async def test_a_rule_and_a_row_read_a_table_by_a_key_of_the_event() -> None:
    world = await World(FIRST).take(
        builders.adopted(FIRST.revision), at("north", "a"), at("south", "b"), at("west", "c"), at(None, "d")
    )

    (decision,) = world.said(topics.DECISIONS)
    assert (decision["subject"], decision["data"]["because"]) == ("service/a", "north is in eu")
    views = {
        subject: world.source.at(FIRST.revision).projections["place"].view(_parts(world, subject), NOW_MS)
        for subject in "abcd"
    }
    assert views == {"a": {"region": "eu"}, "b": {"region": "af"}, "c": {}, "d": {}}


def _parts(world: World, subject: str) -> dict[str, Any]:
    from state.rows import decode_row, decode_stored

    stored = world.log.rows[0][f"service/{subject}".encode()]
    parts: dict[str, Any] = decode_row(decode_stored(stored).row).parts["place"]
    return parts


async def test_a_table_is_in_force_from_the_record_that_adopts_it_and_a_replay_says_the_same() -> None:
    events = (
        builders.adopted(FIRST.revision), at("north", "a"), at("south", "b"),
        builders.adopted(SECOND.revision, at_ms=NOW_MS + 1), at("north", "c"), at("south", "d"),
    )  # fmt: skip
    world = await World(FIRST, SECOND).take(*events)

    assert [decision["subject"] for decision in world.said(topics.DECISIONS)] == ["service/a", "service/d"]
    assert (await replay(world.log, world.source, builders.ScriptedEngine(), batch_records=2)).equal


def test_a_table_travels_on_a_topic_of_its_own_and_an_unchanged_one_makes_no_new_version() -> None:
    log = ControlLog(builders.TOOLS)
    for output in outputs_to_publish(FIRST, log):
        log.note(output.topic, output.key, output.value)

    published = outputs_to_publish(SECOND, log)

    assert [output.topic for output in published] == [topics.REFERENCE, topics.CONTROL_SETS]
    for output in published:
        log.note(output.topic, output.key, output.value)
    assert outputs_to_publish(SECOND, log) == []
    assert log.control_set(SECOND.revision) == SECOND


class TestPolicies:
    @pytest.mark.parametrize(("site", "answer"), [("north", "allow"), ("south", "deny"), ("west", "deny")])
    async def test_they_read_the_table_below_data_reference(self, site: str, answer: str) -> None:
        permit = builders.item("policy", "permits/sites", PERMIT)
        anywhere = builders.rule(when="has(data.site)", propose={"because": "why not"})
        controls = builders.control_set(builders.intent(), anywhere, permit, sites(north="eu", south="af"))

        world = await World(controls, engine=RegorusEngine()).take(builders.adopted(controls.revision), at(site, "a"))

        (verdict,) = world.said(topics.VERDICTS)
        assert verdict["data"]["answer"] == answer, verdict["data"]["reasons"]

    def test_their_revision_changes_with_a_table_only_where_one_of_them_reads_any(self) -> None:
        def revisions(rego: str) -> set[str]:
            policy = builders.item("policy", "permits/sites", rego)
            tables = (sites(north="eu"), sites(north="us"))
            return {Policies.of(ControlSet.of([policy, table])).revision for table in tables}

        assert len(revisions(PERMIT)) == 2
        assert len(revisions(PERMIT.replace("data.reference", "data.other"))) == 1

    def test_what_they_are_given_is_each_table_by_its_keys(self) -> None:
        permit = builders.item("policy", "permits/sites", PERMIT)

        ((name, text),) = Policies.of(ControlSet.of([permit, sites(north="eu")])).data

        assert (name, msgspec.json.decode(text)) == (
            "reference",
            {"sites": {"north": {"site": "north", "region": "eu"}}},
        )


def test_a_fleet_may_take_its_members_from_a_table() -> None:
    europe = builders.fleet("europe", members='reference.sites[subject.name].region == "eu"')
    controls = builders.controls(europe, sites(north="eu", south="af"))

    names = ("service/north", "service/south", "service/west")
    assert [bool(controls.fleets.of(subject)) for subject in names] == [True, False, False]
    other = builders.controls(europe, sites(north="us"))
    assert other.fleets.revisions != controls.fleets.revisions, "another table makes other members"
