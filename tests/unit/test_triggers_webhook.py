"""Webhooks over HTTP: what others send in their own form becomes events."""

import logging
from typing import Any

import pytest

from control_plane.adapters.memory import MemoryBackbone, MemoryLog
from control_plane.bootstrap.front import Front
from control_plane.errors import BackboneUnavailable
from control_plane.messages.wire import ms_of
from control_plane.ports.positions import Positions
from tests.unit.triggers_world import SECRET, World
from tests.unit.webhook_world import ALERTS, BEARER, ORDERS, a_group, an_alert, resolved, send


@pytest.fixture
def world() -> World:
    return World()


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
