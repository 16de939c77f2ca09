"""Events come in as the CloudEvents HTTP binding says, stay as they were sent, and a wrong one says what to change."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import pytest
from cloudevents.core.bindings.http import HTTPMessage, to_binary, to_structured
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from control_plane.messages.wire import EVENT_BYTES_MAX, decode_event, utc
from tests.builders import NOW_MS
from tests.unit.api_world import World, a_world

STRUCTURED = {"Content-Type": "application/cloudevents+json"}
BATCH = {"Content-Type": "application/cloudevents-batch+json"}
EVENT: dict[str, Any] = {
    "specversion": "1.0",
    "id": "e-1",
    "source": "probe",
    "type": "service.measured",
    "subject": "service/web-1",
    "data": {"rss": 500},
}
_ABSENT = object()


def changed(**changes: Any) -> dict[str, Any]:
    return {name: value for name, value in (EVENT | changes).items() if value is not _ABSENT}


async def send(world: World, content: bytes | str, headers: Mapping[str, str]) -> Any:
    async with world.client() as client:
        return await client.post("/v1/events", content=content, headers=dict(headers))


async def test_a_structured_event_stands_on_the_log_as_it_was_sent() -> None:
    world = a_world()
    sent = json.dumps(changed(region="eu", time="2026-01-01T00:00:00Z"), indent=2)

    answer = await send(world, sent, {"Content-Type": "application/cloudevents+json; charset=utf-8"})

    assert answer.status_code == 202, answer.text
    [output] = world.appended
    assert (output.topic, output.key, output.value) == ("events.v1", b"service/web-1", sent.encode())
    [accepted] = answer.json()["accepted"]
    event = decode_event(output.value, NOW_MS)
    assert accepted == {"id": "e-1", "source": "probe", "correlation_id": event.lineage.correlation_id}


async def test_a_binary_event_is_the_same_event() -> None:
    world = a_world()
    headers = {f"ce-{name}": value for name, value in EVENT.items() if name != "data"} | {
        "ce-correlationid": "flow-7",
        "ce-hopcount": "2",
        "ce-region": quote("Zürich € 1%"),
        "ce-note": '"a \\"quoted\\" text"',
        "Content-Type": "application/json",
    }

    answer = await send(world, b'{"rss": 500}', headers)

    assert answer.status_code == 202, answer.text
    body = json.loads(world.appended[0].value)
    expected = {"region": "Zürich € 1%", "note": 'a "quoted" text', "hopcount": 2, "correlationid": "flow-7"}
    assert body == EVENT | expected | {"datacontenttype": "application/json"}
    assert answer.json()["accepted"][0]["correlation_id"] == "flow-7"


async def test_a_batch_is_taken_whole_and_in_order() -> None:
    world = a_world()
    batch = [changed(id=f"e-{n}", subject=f"service/web-{n % 2}") for n in range(100)]

    answer = await send(world, json.dumps(batch), BATCH)

    assert answer.status_code == 202
    assert [item["id"] for item in answer.json()["accepted"]] == [f"e-{n}" for n in range(100)]
    assert [json.loads(output.value)["id"] for output in world.appended] == [f"e-{n}" for n in range(100)]


async def test_an_empty_batch_is_nothing_and_fine() -> None:
    world = a_world()

    answer = await send(world, "[]", BATCH)

    assert (answer.status_code, answer.json()) == (202, {"accepted": []})
    assert world.appended == []


@pytest.mark.parametrize("binding", [to_structured, to_binary])
async def test_what_the_sdk_of_cloudevents_sends_is_taken(binding: Any) -> None:
    world = a_world()
    attributes = {name: value for name, value in EVENT.items() if name != "data"} | {"time": utc(NOW_MS)}
    event = CloudEvent(attributes={**attributes, "datacontenttype": "application/json"}, data={"rss": 5})
    message: HTTPMessage = binding(event, JSONFormat())

    answer = await send(world, message.body, message.headers)

    assert answer.status_code == 202, answer.text
    assert decode_event(world.appended[0].value, NOW_MS).data == {"rss": 5}


@pytest.mark.parametrize(
    ("body", "status", "code", "field"),
    [
        pytest.param("{", 400, "json_broken", None, id="cut off"),
        pytest.param("", 400, "json_broken", None, id="empty"),
        pytest.param(b"\xff\xfe{}", 400, "json_broken", None, id="not UTF-8"),
        pytest.param('{"a":NaN}', 400, "json_broken", None, id="NaN"),
        pytest.param('{"data":' + '{"a":' * 20_000 + "1" + "}" * 20_001, 422, "too_deep", "data", id="deep"),
        pytest.param("[]", 422, "envelope_broken", None, id="an array"),
        pytest.param("{}", 422, "envelope_broken", "specversion", id="no attributes"),
        pytest.param(changed(id=_ABSENT), 422, "envelope_broken", "id", id="no id"),
        pytest.param(changed(id=""), 422, "id_missing", "id", id="empty id"),
        pytest.param(changed(id=7), 422, "envelope_broken", "id", id="id a number"),
        pytest.param(changed(source=""), 422, "source_missing", "source", id="empty source"),
        pytest.param(changed(source="setpoint"), 422, "source_reserved", "source", id="our own source"),
        pytest.param(changed(specversion="0.3"), 422, "specversion_unknown", "specversion", id="old version"),
        pytest.param(changed(subject=_ABSENT), 422, "subject_missing", "subject", id="no subject"),
        pytest.param(changed(subject="web-1"), 422, "subject_malformed", "subject", id="subject without kind"),
        pytest.param(changed(subject="s/" + "x" * 300), 422, "subject_too_long", "subject", id="long subject"),
        pytest.param(changed(subject="partition/1"), 422, "subject_reserved", "subject", id="our own subject"),
        pytest.param(changed(type="nobody.knows"), 422, "type_unknown", "type", id="unknown type"),
        pytest.param(changed(type="clock.tick"), 422, "type_reserved", "type", id="a tick"),
        pytest.param(changed(type="controls.adopted"), 422, "type_reserved", "type", id="controls"),
        pytest.param(changed(type="command.succeeded"), 422, "type_reserved", "type", id="an outcome"),
        pytest.param(changed(type="command.made_up"), 422, "type_reserved", "type", id="like an outcome"),
        pytest.param(changed(type="effect.judged"), 422, "type_reserved", "type", id="an effect"),
        pytest.param(changed(type="decision.proposed"), 422, "type_reserved", "type", id="a proposal"),
        pytest.param(changed(time="yesterday"), 422, "envelope_broken", "time", id="no time"),
        pytest.param(changed(time="2026-01-01T00:00:00"), 422, "time_naive", "time", id="naive time"),
        pytest.param(changed(time="2026-01-01T00:06:00Z"), 422, "from_future", "time", id="from the future"),
        pytest.param(changed(data=[1]), 422, "data_not_object", "data", id="data an array"),
        pytest.param(changed(data={}), 422, "schema_broken", "data", id="schema: missing"),
        pytest.param(changed(data={"rss": "much"}), 422, "schema_broken", "data.rss", id="schema: wrong type"),
        pytest.param(changed(data_base64="AA=="), 422, "data_binary", "data_base64", id="binary data"),
        pytest.param(changed(hopcount=-1), 422, "hopcount_invalid", "hopcount", id="negative hops"),
        pytest.param(changed(data={"rss": 1, "pad": "x" * EVENT_BYTES_MAX}), 413, "too_large", None, id="too large"),
    ],
)
async def test_a_wrong_event_is_refused_with_the_field_and_the_cure(
    body: Any, status: int, code: str, field: str | None
) -> None:
    world = a_world()
    content = json.dumps(body) if isinstance(body, dict) else body

    answer = await send(world, content, STRUCTURED)

    problem = answer.json()
    assert (answer.status_code, problem["type"]) == (status, f"urn:setpoint:problem:{code}"), problem
    assert problem.get("field") == field
    assert problem["cure"]
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert world.appended == []


async def test_a_batch_with_one_wrong_event_is_refused_whole_and_names_it() -> None:
    world = a_world()
    batch = [changed(id="a"), changed(id="b"), changed(id="c", data={"rss": None})]

    answer = await send(world, json.dumps(batch), BATCH)

    problem = answer.json()
    assert (answer.status_code, problem["field"]) == (422, "[2].data.rss")
    assert "none was taken" in problem["detail"]
    assert world.appended == []


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ("{}", 400, "json_broken"),
        ("[1", 400, "json_broken"),
        ("[1]", 422, "envelope_broken"),
        (json.dumps([EVENT] * 1001), 413, "batch_too_long"),
    ],
)
async def test_a_wrong_batch_is_refused(body: str, status: int, code: str) -> None:
    answer = await send(a_world(), body, BATCH)

    assert (answer.status_code, answer.json()["type"]) == (status, f"urn:setpoint:problem:{code}")


BINARY = {f"ce-{name}": str(value) for name, value in EVENT.items() if name != "data"}


@pytest.mark.parametrize(
    ("headers", "body", "status", "code", "field"),
    [
        ({}, "{}", 415, "content_type_unsupported", "Content-Type"),
        ({"Content-Type": "application/json"}, "{}", 415, "content_type_unsupported", "Content-Type"),
        ({"Content-Type": "text/plain"}, "x", 415, "content_type_unsupported", "Content-Type"),
        ({"Content-Type": "application/cloudevents+xml"}, "<x/>", 415, "content_type_unsupported", "Content-Type"),
        (
            {"Content-Type": "application/cloudevents+json; charset=utf-16"},
            "{}",
            415,
            "content_type_unsupported",
            "Content-Type",
        ),
        (BINARY | {"Content-Type": "text/plain"}, "x", 415, "content_type_unsupported", "Content-Type"),
        (BINARY | {"Content-Type": "application/json"}, "{", 400, "json_broken", "data"),
        (BINARY | {"Content-Type": "application/json"}, '{"rss":1}, "subject": "x/y"', 400, "json_broken", "data"),
        (BINARY | {"ce-hopcount": "many"}, "", 422, "attribute_invalid", "hopcount"),
        (BINARY | {"ce-data": "x"}, "", 422, "attribute_invalid", "ce-data"),
        (BINARY | {"ce-datacontenttype": "x"}, "", 422, "attribute_invalid", "ce-datacontenttype"),
        (BINARY | {"ce-with_underscore": "x"}, "", 422, "attribute_invalid", "ce-with_underscore"),
        (BINARY | {"ce-region": "%FF"}, "", 422, "attribute_invalid", "region"),
        ({"ce-id": "1"}, "", 422, "envelope_broken", "specversion"),
    ],
)
async def test_a_wrong_binding_is_refused(
    headers: dict[str, str], body: str, status: int, code: str, field: str
) -> None:
    world = a_world()

    answer = await send(world, body, headers)

    problem = answer.json()
    assert (answer.status_code, problem["type"]) == (status, f"urn:setpoint:problem:{code}"), problem
    assert problem["field"] == field
    assert world.appended == []


async def test_the_same_event_again_is_accepted_again() -> None:
    world = a_world()

    first, second = await send(world, json.dumps(EVENT), STRUCTURED), await send(world, json.dumps(EVENT), STRUCTURED)

    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json() == second.json()
    assert world.appended[0] == world.appended[1]


async def test_before_a_workspace_is_in_force_events_must_wait() -> None:
    world = a_world(controls=None)

    answer = await send(world, json.dumps(EVENT), STRUCTURED)

    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "1"
    assert world.appended == []
