"""What REST needs of the process that it runs in; bootstrap fills it."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from prometheus_client import CollectorRegistry

from control_plane.api.keys import ApiKey
from control_plane.catalogue import ControlItem, Controls
from control_plane.errors import BackboneUnavailable
from control_plane.messages import Command, Event
from control_plane.messages.cancellation import Cancellation
from control_plane.ports.audit import Audit
from control_plane.ports.backbone import Output, Position, WentOn
from control_plane.ports.bundles import Bundles
from control_plane.ports.webhooks import Webhook
from control_plane.redriving import MapAgain, no_trigger
from control_plane.workspace.diffing import Applied, Moved


def wall_clock_ms() -> int:
    """Milliseconds since the epoch: the door judges what has not yet a place on the log."""
    return time.time_ns() // 1_000_000


GoOn = Callable[[int, int | None], Awaitable[WentOn]]
"""A person's word on a partition that is stopped (`ports.backbone.Backbone.go_on`)."""


async def no_partition(partition: int, from_offset: int | None) -> WentOn:
    """Where there is no log."""
    raise BackboneUnavailable(f"no log is open here. Nothing was said of partition {partition}.")


class Desk(Protocol):
    """Where controls are changed and commands taken back."""

    @property
    def wanted(self) -> str:
        """The revision that every partition is to follow."""

    @property
    def items(self) -> Sequence[ControlItem]:
        """The items of that revision."""

    def versions(self, kind: str) -> Mapping[str, Sequence[ControlItem]]:
        """Every version of every item of a kind, by name, the oldest first."""

    async def apply(self, items: Sequence[ControlItem], expected: str) -> Applied | Moved:
        """Publish items, if `expected` is what is wanted until now. Raises InvalidWorkspace; then nothing has
        changed."""

    async def cancel(self, wish: Cancellation, event: Event) -> None:
        """Tell executors, and the log."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ApiPorts:
    """`append` returns once records are durable (`ports.backbone`). `controls` gives what is in force, None before any
    is. `health` gives the reasons why the service is not ready, none when it is. `on_loopback` says that nobody beyond
    this machine can connect: then probes and metrics need no key. `webhooks` are served by their names, and may change.

    `owned` gives the partitions of this process with the revisions that they have adopted, of `partitions` in all.
    `has_begun` says whether a command may have acted, None when this process does not know. `settings` are those that
    `setpoint.yaml` had at the start, without passwords. `map_again` makes of a trigger's dead letter what the trigger
    would make of it now. `bundles` are there where policy engines run apart from us.
    `go_on` lets a partition go on that is stopped.
    """

    append: Callable[[Sequence[Output]], Awaitable[Sequence[Position]]]
    audit: Audit
    controls: Callable[[], Controls | None]
    health: Callable[[], Sequence[str]]
    metrics: CollectorRegistry
    key: ApiKey
    on_loopback: bool = True
    now_ms: Callable[[], int] = wall_clock_ms
    webhooks: Mapping[str, Webhook] = field(default_factory=dict)
    desk: Desk
    owned: Callable[[], Mapping[int, str]] = dict
    partitions: int = 0
    has_begun: Callable[[Command], bool | None] = lambda _command: None
    settings: Mapping[str, str] = field(default_factory=dict)
    map_again: MapAgain = no_trigger
    bundles: Bundles | None = None
    go_on: GoOn = no_partition
