"""Webhooks that take CloudEvents: as they are, or mapped."""

import pytest

from tests.unit.triggers_world import World, as_json
from tests.unit.webhook_world import BEARER, send

CLOUD = {"name": "cloud", "kind": "webhook", "format": "cloudevents", "auth": {"bearer_env": "HOOK_SECRET"}}
PLACED = {
    "specversion": "1.0",
    "id": "e-1",
    "source": "https://shop.example",
    "type": "order.placed",
    "subject": "order/7",
    "data": {"cents": 1200},
    "shopregion": "north",
}
STRUCTURED = BEARER | {"Content-Type": "application/cloudevents+json"}


@pytest.fixture
def world() -> World:
    return World()


async def test_a_cloud_event_passes_as_it_was_sent(world: World) -> None:
    answer = await send(world, CLOUD, PLACED, STRUCTURED)

    assert answer.status_code == 202
    assert [output.value for output in world.outputs] == [as_json(PLACED)]
    assert answer.json()["accepted"][0]["source"] == "https://shop.example"


async def test_a_batch_of_cloud_events_is_taken_one_by_one(world: World) -> None:
    batch = [PLACED, {**PLACED, "id": "e-2", "type": "nobody.knows"}, {**PLACED, "id": "e-3"}]

    answer = await send(world, CLOUD, batch, BEARER | {"Content-Type": "application/cloudevents-batch+json"})

    assert answer.status_code == 422
    assert answer.json()["not_taken"][0]["place"] == "event 1"
    assert world.ids == ["e-1", "e-3"]
    assert [letter.code for letter in world.letters] == ["type_unknown"]


async def test_a_cloud_event_in_binary_mode_is_taken(world: World) -> None:
    headers = {"ce-" + name: str(PLACED[name]) for name in ("specversion", "id", "source", "type", "subject")}

    answer = await send(world, CLOUD, {"cents": 1200}, BEARER | headers)

    assert answer.status_code == 202
    assert [event.data for event in world.events] == [{"cents": 1200}]


async def test_a_foreign_cloud_event_is_mapped_and_keeps_its_identity_and_flow(world: World) -> None:
    foreign = PLACED | {"type": "com.example.Order", "subject": "7", "correlationid": "flow-1", "data": ["a", "b"]}
    event = {"type": "order.placed", "subject": '"order/" + item.subject', "data": {"lines": "item.data"}}

    answer = await send(world, {**CLOUD, "event": event}, foreign, STRUCTURED)

    [made] = world.events
    assert answer.status_code == 202
    assert (made.lineage.source, made.lineage.message_id) == ("https://shop.example", "e-1")
    assert made.lineage.correlation_id == "flow-1"
    assert (made.subject, made.data) == ("order/7", {"lines": ["a", "b"]})


async def test_nobody_speaks_as_setpoint_itself(world: World) -> None:
    answers = [
        await send(world, CLOUD, PLACED | {"source": "setpoint"}, STRUCTURED),
        await send(world, CLOUD, PLACED | {"type": "command.succeeded"}, STRUCTURED),
        await send(world, CLOUD, PLACED | {"subject": "partition/0"}, STRUCTURED),
    ]

    assert [answer.json()["type"].rpartition(":")[2] for answer in answers] == [
        "source_reserved",
        "type_reserved",
        "subject_reserved",
    ]
    assert world.events == []


async def test_what_is_no_cloud_event_is_kept_and_answered(world: World) -> None:
    answer = await send(world, CLOUD, {"cents": 1200})

    assert answer.status_code == 415
    assert [letter.code for letter in world.letters] == ["content_type_unsupported"]
    assert world.letters[0].record == b'{"cents":1200}'
