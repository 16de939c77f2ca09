"""What REST needs of the process that it runs in; bootstrap fills it."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry

from control_plane.api.keys import ApiKey
from control_plane.catalogue import Controls
from control_plane.ports.audit import Audit
from control_plane.ports.backbone import Output, Position
from control_plane.ports.webhooks import Webhook


def wall_clock_ms() -> int:
    """Milliseconds since the epoch: the door judges what has not yet a place on the log."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class ApiPorts:
    """`append` returns once records are durable (`ports.backbone`). `controls` gives what is in force, None before any
    is. `health` gives the reasons why the service is not ready, none when it is. `on_loopback` says that nobody beyond
    this machine can connect: then probes and metrics need no key. `webhooks` are served by their names."""

    append: Callable[[Sequence[Output]], Awaitable[Sequence[Position]]]
    audit: Audit
    controls: Callable[[], Controls | None]
    health: Callable[[], Sequence[str]]
    metrics: CollectorRegistry
    key: ApiKey
    on_loopback: bool = True
    now_ms: Callable[[], int] = wall_clock_ms
    webhooks: Mapping[str, Webhook] = field(default_factory=dict)
