"""Webhooks over HTTP in memory: what senders send, and an app that takes it."""

from collections.abc import Mapping
from typing import Any

import httpx
from prometheus_client import CollectorRegistry

from control_plane.api.app import create_app
from control_plane.api.keys import ApiKey
from control_plane.api.ports import ApiPorts
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
