"""What is known of the formats that come in: where their items are, and what an event is made of by default.

A format is no code but a mapping as users write it themselves, so that each line of it can be replaced in a
definition.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from control_plane.errors import InvalidMessage

Variables = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Format:
    """`each` finds the items of a body, `item` checks one and says what can be read of it. `whole` is the data when no
    `data` is given; `types` are the event types that `type` can come to. With `as_sent`, an item is an event already
    and passes as it is unless the definition changes something."""

    item: Callable[[Any], Variables]
    reads: frozenset[str] = frozenset({"item"})
    each: str | None = None
    type: str | None = None
    subject: str | None = None
    id: str | None = None
    occurred_at: str | None = None
    source: str | None = None
    whole: str | None = "item"
    data: Mapping[str, str] = field(default_factory=dict)
    types: frozenset[str] = frozenset()
    as_sent: bool = False


class _Alert(Struct, frozen=True, kw_only=True):
    """What every alert of Alertmanager and Grafana has; whatever else it has is left as it is."""

    status: Literal["firing", "resolved"]
    labels: dict[str, str]
    annotations: dict[str, str] | None = None
    startsAt: Annotated[datetime, Meta(tz=True)]  # noqa: N815 - as it is sent
    endsAt: Annotated[datetime, Meta(tz=True)]  # noqa: N815
    fingerprint: Annotated[str, Meta(min_length=1)]


def _plain(item: Any) -> Variables:
    return {"item": item}


def _alert(item: Any) -> Variables:
    try:
        checked = msgspec.convert(item, _Alert)
    except msgspec.ValidationError as wrong:
        words, _, path = str(wrong).partition(" - at ")
        raise InvalidMessage(
            "alert_broken",
            f"this is no alert: {words}",
            field=path.strip("`").removeprefix("$").removeprefix(".") or None,
            cure="Send what Alertmanager or Grafana send; for anything else use format: json.",
        ) from wrong
    return {"item": item, "labels": checked.labels, "annotations": checked.annotations or {}}


def _cloud_event(item: Any) -> Variables:
    if not isinstance(item, dict):
        raise InvalidMessage(
            "envelope_broken",
            "a CloudEvent is a JSON object",
            cure="Send CloudEvents, or use format: json for anything else.",
        )
    return {"item": item}


def _optional(path: str) -> str:
    return f"has({path}) ? {path} : null"


_RESOLVED: Final = 'item.status == "resolved"'
_ALERT_DATA: Final = {
    "status": "item.status",
    "alertname": _optional("labels.alertname"),
    "labels": "labels",
    "annotations": "annotations",
    "starts_at": "item.startsAt",
    "ends_at": f"{_RESOLVED} ? item.endsAt : null",
    "fingerprint": "item.fingerprint",
    "generator_url": _optional("item.generatorURL"),
}


def _alerts(data: Mapping[str, str]) -> Format:
    """Alerts in groups. One that is sent again says the same of itself, so it is the same event."""
    return Format(
        item=_alert,
        reads=frozenset({"item", "labels", "annotations"}),
        each="body.alerts",
        type=f'alert.{{{_RESOLVED} ? "resolved" : "fired"}}',
        types=frozenset({"alert.fired", "alert.resolved"}),
        id=f'item.fingerprint + "/" + item.status + "/" + item.startsAt + ({_RESOLVED} ? "/" + item.endsAt : "")',
        occurred_at=f"{_RESOLVED} ? item.endsAt : item.startsAt",
        whole=None,
        data=data,
    )


FORMATS: Final[Mapping[str, Format]] = {
    "json": Format(item=_plain),
    "cloudevents": Format(
        item=_cloud_event,
        type="{item.type}",
        subject="item.subject",
        id="item.id",
        source="item.source",
        occurred_at=_optional("item.time"),
        whole=_optional("item.data"),
        as_sent=True,
    ),
    "alertmanager": _alerts(_ALERT_DATA),
    "grafana": _alerts(
        _ALERT_DATA
        | {
            "values": _optional("item.values"),
            "dashboard_url": _optional("item.dashboardURL"),
            "panel_url": _optional("item.panelURL"),
        }
    ),
}
