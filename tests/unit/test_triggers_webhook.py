"""Webhooks over HTTP: what others send in their own form becomes events, and what does not is kept and named."""

import asyncio
import base64
import hashlib
import hmac
import logging
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry

from control_plane.adapters.memory import MemoryBackbone, MemoryLog
from control_plane.api.app import create_app
from control_plane.api.keys import ApiKey
from control_plane.api.ports import ApiPorts
from control_plane.bootstrap.front import Front
from control_plane.errors import BackboneUnavailable, InvalidWorkspace, StorageFull
from control_plane.messages.wire import ms_of
from control_plane.ports.positions import Positions
from control_plane.triggers import build_webhooks
from tests.unit.api_world import KEY, MemoryAudit, MemoryDesk
from tests.unit.triggers_world import SECRET, World, as_json

BEARER = {"Authorization": f"Bearer {SECRET}"}
ALERTS = {
    "name": "alerts",
    "kind": "webhook",
    "format": "alertmanager",
    "event": {"subject": '"service/" + labels.service'},
    "auth": {"bearer_env": "HOOK_SECRET"},
}
ORDERS = {
    "name": "orders",
    "kind": "webhook",
    "each": "body.orders",
    "event": {"type": "order.placed", "subject": '"order/" + item.number', "id": "item.number"},
    "auth": {"bearer_env": "HOOK_SECRET"},
}


def an_alert(**changes: Any) -> dict[str, Any]:
    """One alert as Alertmanager 0.25 sends it."""
    return {
        "status": "firing",
        "labels": {"alertname": "HighLatency", "service": "web-1", "severity": "page"},
        "annotations": {"summary": "p99 above 500 ms"},
        "startsAt": "2025-12-31T23:58:26.739266876Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus:9090/graph?g0.expr=latency",
        "fingerprint": "c0ffee0123456789",
        **changes,
    }


def resolved(**changes: Any) -> dict[str, Any]:
    return an_alert(**{"status": "resolved", "endsAt": "2025-12-31T23:59:30.1Z", **changes})


def a_group(*alerts: Any, **changes: Any) -> dict[str, Any]:
    return {
        "receiver": "setpoint",
        "status": "firing",
        "alerts": list(alerts),
        "groupLabels": {"alertname": "HighLatency"},
        "commonLabels": {},
        "commonAnnotations": {},
        "externalURL": "http://alertmanager:9093",
        "version": "4",
        "groupKey": '{}:{alertname="HighLatency"}',
        "truncatedAlerts": 0,
        **changes,
    }


@pytest.fixture
def world() -> World:
    return World()


def an_app(world: World, *definitions: Mapping[str, Any]) -> httpx.ASGITransport:
    ports = ApiPorts(
        append=world.append,
        audit=MemoryAudit(),
        controls=lambda: world.controls,
        health=lambda: (),
        metrics=CollectorRegistry(),
        desk=MemoryDesk(),
        key=ApiKey.of(KEY),
        now_ms=world.clock.now_ms,
        webhooks=build_webhooks(definitions, world.tools),
    )
    return httpx.ASGITransport(app=create_app(ports), raise_app_exceptions=False)


async def send(
    world: World, definition: Mapping[str, Any], body: Any, headers: Mapping[str, str] = BEARER, **options: Any
) -> httpx.Response:
    content = body if isinstance(body, bytes) else as_json(body)
    async with httpx.AsyncClient(transport=an_app(world, definition), base_url="http://setpoint") as client:
        given = {"Content-Type": "application/json", **headers}
        return await client.post(f"/hooks/{definition['name']}", content=content, headers=given, **options)


# What comes in


async def test_an_alert_that_fires_becomes_an_event_about_what_its_labels_name(world: World) -> None:
    answer = await send(world, ALERTS, a_group(an_alert()))

    [event] = world.events
    assert answer.status_code == 202
    assert [taken["id"] for taken in answer.json()["accepted"]] == [event.lineage.message_id]
    assert (event.type, event.subject, event.lineage.source) == ("alert.fired", "service/web-1", "trigger/alerts")
    assert event.lineage.message_id == "c0ffee0123456789/firing/2025-12-31T23:58:26.739266876Z"
    assert ms_of(event.occurred_at) == 1_767_225_506_739
    assert event.data == {
        "status": "firing",
        "alertname": "HighLatency",
        "labels": {"alertname": "HighLatency", "service": "web-1", "severity": "page"},
        "annotations": {"summary": "p99 above 500 ms"},
        "starts_at": "2025-12-31T23:58:26.739266876Z",
        "fingerprint": "c0ffee0123456789",
        "generator_url": "http://prometheus:9090/graph?g0.expr=latency",
    }


async def test_an_alert_that_is_resolved_becomes_another_event_at_its_end(world: World) -> None:
    answer = await send(world, ALERTS, a_group(resolved(), status="resolved"))

    [event] = world.events
    assert answer.status_code == 202
    assert event.type == "alert.resolved"
    assert event.data["ends_at"] == "2025-12-31T23:59:30.1Z"
    assert ms_of(event.occurred_at) == 1_767_225_570_100


async def test_an_alert_that_is_sent_again_is_the_same_event_byte_by_byte(world: World) -> None:
    await send(world, ALERTS, a_group(an_alert()))
    world.clock.advance(3_600_000)
    await send(world, ALERTS, a_group(an_alert(), resolved(fingerprint="other"), receiver="another"))

    first, again, _ = world.outputs
    assert first.value == again.value
    assert len(set(world.ids)) == 2


async def test_what_is_firing_resolved_and_fires_anew_are_three_events(world: World) -> None:
    await send(world, ALERTS, a_group(an_alert()))
    await send(world, ALERTS, a_group(resolved()))
    await send(world, ALERTS, a_group(an_alert(startsAt="2025-12-31T23:59:40Z")))

    assert len(set(world.ids)) == 3


async def test_the_alerts_of_grafana_bring_their_values(world: World) -> None:
    alert = an_alert(
        values={"A": 44.25, "C": 1},
        valueString="[ var='A' labels={} value=44.25 ]",
        dashboardURL="https://grafana/d/abc",
        panelURL="https://grafana/d/abc?viewPanel=3",
        silenceURL="https://grafana/alerting/silence/new",
        imageURL="",
        endsAt="0001-01-01T00:00:00Z",
        startsAt="2026-01-01T00:58:26.7+01:00",
    )
    body = a_group(alert, version="1", orgId=1, title="[FIRING:1]", state="alerting", message="**Firing**")

    answer = await send(world, {**ALERTS, "format": "grafana"}, body)

    [event] = world.events
    assert answer.status_code == 202
    assert event.data["values"] == {"A": 44.25, "C": 1}
    assert event.data["panel_url"] == "https://grafana/d/abc?viewPanel=3"
    assert ms_of(event.occurred_at) == 1_767_225_506_700


async def test_an_alert_of_grafana_without_values_or_annotations_is_taken_too(world: World) -> None:
    alert = an_alert(values=None, annotations=None, generatorURL=None, labels={"service": "web-1"})

    answer = await send(world, {**ALERTS, "format": "grafana"}, a_group(alert))

    [event] = world.events
    assert answer.status_code == 202
    assert event.data["annotations"] == {}
    assert not {"values", "generator_url", "alertname"} & set(event.data)


async def test_a_definition_replaces_line_by_line_what_a_format_says(world: World) -> None:
    event = {
        "subject": '"service/" + labels.service',
        "type": "order.placed",
        "id": 'item.fingerprint + "!"',
        "data": {"summary": "annotations.summary", "status": "null", "receiver": "body.receiver"},
    }

    await send(world, {**ALERTS, "event": event, "when": 'labels.severity == "page"'}, a_group(an_alert()))

    [made] = world.events
    assert (made.type, made.lineage.message_id) == ("order.placed", "c0ffee0123456789!")
    assert made.data["summary"] == "p99 above 500 ms"
    assert made.data["receiver"] == "setpoint"
    assert "status" not in made.data
    assert made.data["fingerprint"] == "c0ffee0123456789"


async def test_what_a_condition_leaves_out_is_no_event_and_no_dead_letter(world: World) -> None:
    body = a_group(an_alert(), an_alert(labels={"service": "web-2"}), an_alert(labels={"severity": "info"}))

    answer = await send(world, {**ALERTS, "when": 'labels.severity == "page"'}, body)

    assert answer.status_code == 202
    assert [event.subject for event in world.events] == ["service/web-1"]
    assert world.letters == []


async def test_plain_json_is_mapped_item_by_item(world: World) -> None:
    event = {
        "type": "order.{item.state}",
        "subject": '"order/" + string(item.number)',
        "id": "item.number",
        "occurred_at": "item.at",
        "data": {"euros": "item.cents / 100", "shop": "body.shop", "push": 'headers["x-event"] == "push"'},
    }
    body = {"shop": "north", "orders": [{"number": 7, "state": "placed", "at": 1_767_225_590, "cents": 1200}]}

    answer = await send(world, {**ORDERS, "event": event}, body, BEARER | {"X-Event": "push"})

    [made] = world.events
    assert answer.status_code == 202
    assert (made.type, made.subject, made.lineage.message_id) == ("order.placed", "order/7", "7")
    assert ms_of(made.occurred_at) == 1_767_225_590_000
    assert made.data == {"euros": 12, "shop": "north", "push": True}


@pytest.mark.parametrize(
    ("at", "ms"),
    [(1_767_225_590_500, 1_767_225_590_500), (1.5, 1_500), ("2025-12-31T23:00:00+01:00", 1_767_218_400_000)],
)
async def test_a_time_is_text_or_seconds_or_milliseconds(world: World, at: Any, ms: int) -> None:
    definition = {**ORDERS, "event": {**ORDERS["event"], "occurred_at": "item.at"}}

    await send(world, definition, {"orders": [{"number": "7", "at": at}]})

    assert [ms_of(event.occurred_at) for event in world.events] == [ms]


async def test_without_a_mapping_of_data_the_whole_item_is_the_data(world: World) -> None:
    await send(world, ORDERS, {"orders": [{"number": "7", "lines": [{"sku": "a"}]}]})

    assert [event.data for event in world.events] == [{"number": "7", "lines": [{"sku": "a"}]}]


async def test_a_body_without_each_is_one_item(world: World) -> None:
    definition = {key: value for key, value in ORDERS.items() if key != "each"}

    await send(world, definition, {"number": "7"})

    assert [event.subject for event in world.events] == ["order/7"]


async def test_no_secret_of_a_request_becomes_data(world: World) -> None:
    event = {**ORDERS["event"], "data": {"stolen": 'headers["authorization"]'}}

    answer = await send(world, {**ORDERS, "event": event}, {"orders": [{"number": "7"}]})

    assert answer.status_code == 422
    assert SECRET not in answer.text
    assert world.events == []


# CloudEvents

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


# What cannot be taken

BROKEN: dict[str, tuple[Any, int, str, str | None]] = {
    "no JSON": (b"{", 400, "json_broken", None),
    "no text": (b"\xff\xfe", 400, "json_broken", None),
    "an empty body": (b"", 400, "json_broken", None),
    "deep nesting": (b'{"alerts":' + b"[" * 100 + b"]" * 100 + b"}", 422, "too_deep", "data"),
    "no list": ({"alerts": {}}, 422, "items_missing", "alerts"),
    "nothing of it": ({"a": 1}, 422, "items_missing", "alerts"),
    "a list": ([an_alert()], 422, "items_missing", "alerts"),
    "no object in the list": (a_group(3), 422, "alert_broken", "alerts[0]"),
    "an unknown status": (a_group(an_alert(status="on fire")), 422, "alert_broken", "alerts[0].status"),
    "labels that are a list": (a_group(an_alert(labels=[])), 422, "alert_broken", "alerts[0].labels"),
    "a label that is a number": (
        a_group(an_alert(labels={"service": 1})),
        422,
        "alert_broken",
        "alerts[0].labels[...]",
    ),
    "a time that is none": (a_group(an_alert(startsAt="yesterday")), 422, "alert_broken", "alerts[0].startsAt"),
    "a time without a zone": (
        a_group(an_alert(startsAt="2026-01-01T00:00:00")),
        422,
        "alert_broken",
        "alerts[0].startsAt",
    ),
    "no fingerprint": (
        a_group({k: v for k, v in an_alert().items() if k != "fingerprint"}),
        422,
        "alert_broken",
        "alerts[0]",
    ),
    "no label to name the subject": (a_group(an_alert(labels={})), 422, "unmappable", "alerts[0].labels.service"),
    "a subject that is too long": (
        a_group(an_alert(labels={"service": "x" * 300})),
        422,
        "subject_too_long",
        "subject",
    ),
    "the future": (a_group(an_alert(startsAt="2027-01-01T00:00:00Z")), 422, "from_future", "time"),
}


@pytest.mark.parametrize(("body", "status", "code", "field"), BROKEN.values(), ids=list(BROKEN))
async def test_what_cannot_be_mapped_is_kept_and_the_sender_is_told_why(
    world: World, body: Any, status: int, code: str, field: str | None
) -> None:
    answer = await send(world, ALERTS, body)

    problem = answer.json()
    [letter] = world.letters
    assert (answer.status_code, problem["type"].rpartition(":")[2], problem.get("field")) == (status, code, field)
    assert problem["cure"]
    assert "kept as dead letters" in problem["detail"]
    assert (letter.code, letter.field, letter.topic) == (code, field, "trigger/alerts")
    assert letter.record_bytes == len(body) if isinstance(body, bytes) else letter.record
    assert world.events == []


async def test_what_is_good_is_taken_whatever_stands_beside_it(world: World) -> None:
    broken = an_alert(labels={"alertname": "Nameless"}, fingerprint="f2")

    answer = await send(world, ALERTS, a_group(an_alert(), broken, resolved(fingerprint="f3")))

    problem = answer.json()
    assert answer.status_code == 422
    assert [taken["id"] for taken in problem["accepted"]] == world.ids
    assert [found["place"] for found in problem["not_taken"]] == ["alerts[1]"]
    assert problem["detail"].startswith("alerts[1]: event.subject cannot be made of what was sent: labels.service is")
    assert "1 of 3 were not taken" in problem["detail"]
    assert [event.type for event in world.events] == ["alert.fired", "alert.resolved"]
    assert b"Nameless" in world.letters[0].record
    assert world.appends == 1


async def test_what_is_sent_again_and_cannot_be_mapped_is_the_same_dead_letter(world: World) -> None:
    for _ in range(2):
        await send(world, ALERTS, a_group(an_alert(labels={})))
    await send(world, ALERTS, a_group(an_alert(labels={}, fingerprint="other")))

    first, second, third = (letter.lineage.message_id for letter in world.letters)
    assert first == second != third


async def test_more_items_than_are_taken_at_once_are_kept_whole(world: World) -> None:
    answer = await send(world, {**ALERTS, "items_max": 2}, a_group(an_alert(), an_alert(), an_alert()))

    assert (answer.status_code, answer.json()["field"]) == (413, "alerts")
    assert "at most 2 are taken" in answer.json()["detail"]
    assert [letter.code for letter in world.letters] == ["too_many_items"]


async def test_a_body_that_is_too_large_is_not_read_to_its_end(world: World) -> None:
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        for _ in range(1_000):
            read += 1
            yield b" " * 1_000

    transport = an_app(world, {**ALERTS, "body_bytes_max": 5_000})
    async with httpx.AsyncClient(transport=transport, base_url="http://setpoint") as client:
        answer = await client.post("/hooks/alerts", content=endless(), headers=BEARER)

    assert answer.status_code == 413
    assert "more than 5000 bytes" in answer.json()["detail"]
    assert world.outputs == []


async def test_what_cannot_be_made_durable_is_to_be_sent_again(world: World) -> None:
    world.append_raises = [BackboneUnavailable("The log is away."), StorageFull("The disk is full.")]

    answers = [await send(world, ALERTS, a_group(an_alert())) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [503, 507, 202]
    assert answers[0].headers["Retry-After"]
    assert len(world.events) == 1


# Who may send


async def test_only_its_own_secret_opens_a_webhook_that_has_one(world: World) -> None:
    wrong = [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": f"Bearer {SECRET}x"},
        {"Authorization": f"Basic {SECRET}"},
        {"Authorization": f"Bearer {KEY}"},
    ]
    answers = [await send(world, ALERTS, a_group(an_alert()), headers) for headers in wrong]

    assert {answer.status_code for answer in answers} == {401}
    assert all(SECRET not in answer.text for answer in answers)
    assert world.outputs == []
    assert (await send(world, ALERTS, a_group(an_alert()))).status_code == 202


async def test_a_webhook_without_a_secret_opens_with_the_key_of_the_service_alone(world: World) -> None:
    definition = {key: value for key, value in ALERTS.items() if key != "auth"}

    assert (await send(world, definition, a_group(an_alert()), {})).status_code == 401
    assert (await send(world, definition, a_group(an_alert()))).status_code == 401
    answer = await send(world, definition, a_group(an_alert()), {"Authorization": f"Bearer {KEY}"})
    assert answer.status_code == 202


async def test_a_name_that_nobody_declared_is_found_out_only_with_the_key(world: World) -> None:
    async with httpx.AsyncClient(transport=an_app(world, ALERTS), base_url="http://setpoint") as client:
        stranger = await client.post("/hooks/none", content=b"{}", headers=BEARER)
        near = await client.post("/hooks/alerts/", content=b"{}", headers=BEARER)
        friend = await client.post("/hooks/none", content=b"{}", headers={"Authorization": f"Bearer {KEY}"})

    assert (stranger.status_code, near.status_code, friend.status_code) == (401, 401, 404)
    assert friend.json()["type"] == "urn:setpoint:problem:webhook_not_found"


async def test_the_secret_of_a_webhook_opens_nothing_else(world: World) -> None:
    async with httpx.AsyncClient(
        transport=an_app(world, ALERTS, {**ORDERS, "auth": None}), base_url="http://s"
    ) as client:
        answers = [
            await client.get("/v1/events", headers=BEARER),
            await client.post("/hooks/orders", content=b"{}", headers=BEARER),
        ]

    assert [answer.status_code for answer in answers] == [401, 401]


SIGNED = {**ORDERS, "auth": {"hmac": {"header": "X-Hub-Signature-256", "secret_env": "HOOK_SECRET"}}}
BODY = as_json({"orders": [{"number": "7"}]})


def signature(body: bytes, algorithm: str = "sha256") -> bytes:
    return hmac.new(SECRET.encode(), body, algorithm).digest()


@pytest.mark.parametrize("form", ["{}", "sha256={}", " {} "])
async def test_a_signed_body_is_taken(world: World, form: str) -> None:
    headers = {"x-hub-signature-256": form.format(signature(BODY).hex())}

    assert (await send(world, SIGNED, BODY, headers)).status_code == 202


async def test_a_signature_may_be_base64_and_longer(world: World) -> None:
    auth = {"hmac": {**SIGNED["auth"]["hmac"], "encoding": "base64", "algorithm": "hmac-sha512"}}
    headers = {"X-Hub-Signature-256": base64.b64encode(signature(BODY, "sha512")).decode()}

    assert (await send(world, {**SIGNED, "auth": auth}, BODY, headers)).status_code == 202


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Hub-Signature-256": ""},
        {"X-Hub-Signature-256": "no hex"},
        {"X-Hub-Signature-256": signature(BODY)[:-1].hex()},
        {"X-Hub-Signature-256": signature(BODY + b" ").hex()},
        {"X-Hub-Signature-256": "sha1=" + signature(BODY).hex()},
        {"X-Hub-Signature-256": hashlib.sha256(BODY).hexdigest()},
        {"Authorization": f"Bearer {SECRET}"},
        {"Authorization": f"Bearer {KEY}"},
    ],
)
async def test_a_body_that_is_not_signed_with_the_secret_is_refused(world: World, headers: dict[str, str]) -> None:
    assert (await send(world, SIGNED, BODY, headers)).status_code == 401
    assert world.outputs == []


async def test_a_signature_with_a_time_is_believed_for_a_while(world: World) -> None:
    """As Grafana signs: the time in seconds, a colon, the body."""
    auth = {"hmac": {**SIGNED["auth"]["hmac"], "timestamp_header": "X-Grafana-Alerting-Timestamp"}}
    definition = {**SIGNED, "auth": auth}
    now_s = world.clock.now_ms() // 1000

    def headers(said: str, signed: str) -> dict[str, str]:
        made = signature(signed.encode() + b":" + BODY).hex()
        return {"X-Hub-Signature-256": made, "X-Grafana-Alerting-Timestamp": said}

    async def answer(said: str, signed: str) -> int:
        return (await send(world, definition, BODY, headers(said, signed))).status_code

    assert await answer(str(now_s), str(now_s)) == 202
    assert await answer(str(now_s), str(now_s - 1)) == 401
    for stale in (str(now_s - 301), str(now_s + 301), "", "soon", "9" * 400):
        assert await answer(stale, stale) == 401, stale
    world.clock.advance(301_000)
    assert await answer(str(now_s), str(now_s)) == 401


@pytest.mark.parametrize(
    ("environ", "said"), [({}, "HOOK_SECRET is not set"), ({"HOOK_SECRET": "short"}, "shorter than")]
)
async def test_a_webhook_without_its_secret_is_not_served(environ: dict[str, str], said: str) -> None:
    world = World(environ=environ)

    with pytest.raises(InvalidWorkspace, match=said):
        build_webhooks([{**ALERTS, "file": "triggers/alerts.yaml"}], world.tools)


async def test_a_body_that_never_comes_ends_and_may_be_sent_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("control_plane.api.hooks.BODY_TIMEOUT_S", 0.01)

    async def never() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    async with httpx.AsyncClient(transport=an_app(world, ALERTS), base_url="http://setpoint") as client:
        answer = await client.post("/hooks/alerts", content=never(), headers=BEARER)

    assert answer.status_code == 503
    assert answer.json()["type"] == "urn:setpoint:problem:body_too_slow"


async def test_what_came_in_is_counted_once_it_is_durable(world: World) -> None:
    world.append_raises = [BackboneUnavailable("The log is away.")]
    body = a_group(an_alert(), an_alert(labels={"severity": "page"}), an_alert(labels={"service": "a"}))

    for _ in range(2):
        await send(world, {**ALERTS, "when": 'labels.severity == "page"'}, body)

    assert world.counted == {("alerts", "event"): 1, ("alerts", "dead_letter"): 1, ("alerts", "passed_by"): 1}


async def test_alerts_that_the_sender_has_left_out_are_told(world: World, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="control_plane"):
        await send(world, ALERTS, a_group(an_alert()))
        await send(world, ALERTS, a_group(an_alert(), truncatedAlerts=3))

    assert [(record.getMessage(), vars(record)["left_out"]) for record in caplog.records] == [
        ("a sender left alerts out", 3)
    ]


@pytest.mark.parametrize(
    ("roles", "served", "said"),
    [({"api"}, True, 0), ({"api", "triggers"}, True, 0), ({"triggers"}, False, 1), ({"loop"}, False, 0)],
)
async def test_a_process_that_has_triggers_but_no_api_says_that_it_serves_no_webhook(
    world: World, caplog: pytest.LogCaptureFixture, roles: set[str], served: bool, said: int
) -> None:
    async def positions() -> Positions:
        return world.positions

    front = Front(
        root=world.root,
        append=MemoryBackbone(MemoryLog(world.clock.now_ms)).append,
        clock=world.clock,
        controls=lambda: world.controls,
        positions=positions,
        count=world.count,
    )
    with caplog.at_level(logging.WARNING, logger="control_plane"):
        trigger, webhook = await front.build({key: value for key, value in ALERTS.items() if key != "auth"}, roles)

    assert (trigger, webhook is not None) == (None, served)
    assert len(caplog.records) == said
