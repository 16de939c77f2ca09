"""A schema that takes less than the one in force is refused wherever it is registered; and which versions there are."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from control_plane.adapters.memory import MemoryLog, VirtualClock
from control_plane.catalogue import ControlSet
from control_plane.errors import InvalidWorkspace
from tests import builders
from tests.unit.api_world import MemoryDesk, World, a_world
from tests.unit.cli_world import Served
from tests.unit.test_control_desk import Process

TYPE = "service.measured"


def with_schema(**fields: Any) -> ControlSet:
    schema = {"type": "object", "properties": {"rss": {"type": "number", **fields}}}
    return builders.control_set(
        builders.intent(), builders.row(), builders.rule(), builders.item("schema", TYPE, schema)
    )


FIRST, WIDER, NARROWER = with_schema(), with_schema(type=["number", "null"]), with_schema(minimum=1)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def log(clock: VirtualClock) -> MemoryLog:
    return MemoryLog(clock.now_ms)


async def test_an_apply_that_narrows_a_schema_changes_nothing_and_one_that_widens_it_does(
    log: MemoryLog, clock: VirtualClock
) -> None:
    process = Process(log, clock)
    await process.begin(FIRST)

    with pytest.raises(InvalidWorkspace, match="rss: the lower bound is higher") as caught:
        await process.desk.apply(NARROWER.items, FIRST.revision)
    await process.while_it_turns(process.desk.apply(WIDER.items, FIRST.revision))
    with pytest.raises(InvalidWorkspace, match="null is not taken any longer"):
        await process.desk.apply(FIRST.items, WIDER.revision)

    assert [flaw.file for flaw in caught.value.flaws] == [f"schemas/{TYPE}.json"]
    assert process.revisions() == {WIDER.revision}
    assert [len(found) for found in process.desk.versions("schema").values()] == [2]


async def test_a_start_on_a_folder_that_narrows_a_schema_ends_with_the_reason(
    log: MemoryLog, clock: VirtualClock
) -> None:
    first = Process(log, clock)
    await first.begin(FIRST)
    await first.backbone.stop()

    second = Process(log, clock)
    with pytest.raises(InvalidWorkspace, match="the lower bound is higher"):
        await second.begin(NARROWER)

    third = Process(log, clock)
    await third.begin(FIRST)
    assert third.revisions() == {FIRST.revision}


async def get(world: World, path: str) -> Any:
    async with world.client() as client:
        answer = await client.get(path)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_every_version_of_a_schema_can_be_seen_and_which_is_in_force() -> None:
    desk = MemoryDesk(*FIRST.items)
    await desk.apply(WIDER.items, FIRST.revision)
    world = a_world(desk=desk)

    listed = (await get(world, "/v1/schemas"))["items"]
    versions = (await get(world, f"/v1/schemas/{TYPE}/versions"))["items"]
    newest = await get(world, f"/v1/schemas/{TYPE}")
    older = await get(world, f"/v1/schemas/{TYPE}?version=1")

    assert [(item["type"], item["version"]) for item in listed if item["of"] == "workspace"] == [(TYPE, 2)]
    assert [(item["version"], item["versions"], item["in_force"]) for item in versions] == [(1, 2, False), (2, 2, True)]
    assert newest["schema"]["properties"]["rss"]["type"] == ["number", "null"]
    assert older["schema"]["properties"]["rss"]["type"] == "number"
    assert (newest["revision"], older["revision"]) == (versions[1]["revision"], versions[0]["revision"])


async def test_our_own_messages_have_schemas_as_well() -> None:
    world = a_world()

    own = [item["type"] for item in (await get(world, "/v1/schemas"))["items"] if item["of"] == "setpoint"]
    command = await get(world, "/v1/schemas/setpoint.command")

    assert {"setpoint.command", "setpoint.dead_letter", "setpoint.resolution", "setpoint.verdict"} <= set(own)
    assert "properties" in json.dumps(command["schema"])


@pytest.mark.parametrize("path", ["/v1/schemas/x", "/v1/schemas/x/versions", f"/v1/schemas/{TYPE}?version=9"])
async def test_a_schema_that_is_not_there_is_said_to_be_so(path: str) -> None:
    async with a_world(desk=MemoryDesk(*FIRST.items)).client() as client:
        answer = await client.get(path)

    assert (answer.status_code, answer.json()["type"]) == (404, "urn:setpoint:problem:schema_not_found")


@pytest.fixture
def service() -> Iterator[Served]:
    served = Served(a_world(desk=MemoryDesk(*FIRST.items)), 0)
    served.start()
    yield served
    served.stop()


def test_schemas_are_listed_and_shown_on_the_command_line(service: Served) -> None:
    listed = service.setpoint("schemas", "list").stdout.splitlines()
    shown = json.loads(service.setpoint("schemas", "show", TYPE).stdout)
    known = json.loads(service.setpoint("schemas", "list", "--type", TYPE, "--json").stdout)
    missing = service.setpoint("schemas", "show", "x")

    assert listed[0].split() == ["TYPE", "VERSION", "OF", "IN", "FORCE", "DECLARED", "BY", "REVISION"]
    assert listed[1].split()[:5] == [TYPE, "1", "1", "yes", "workspace"]
    assert shown["properties"]["rss"] == {"type": "number"}
    assert [item["version"] for item in known] == [1]
    assert missing.exit_code == 1
    assert "no schema 'x' is recorded" in missing.stderr
