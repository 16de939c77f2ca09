"""Event and row in, contexts out: what each agent that listens is shown."""

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct

from control_plane.catalogue import AgentInForce, Controls
from control_plane.loop.arrival import NO_FLEETS, NOT_HEARD
from control_plane.messages import Context, Event, Subject
from control_plane.messages.summary import FleetSummary
from control_plane.ports.expressions import Scope
from state.rows import Row


class Views(Mapping[str, Mapping[str, Any]]):
    """The row's parts as they are seen now, each worked out when it is first asked for."""

    def __init__(self, row: Row, controls: Controls) -> None:
        self._row = row
        self._projections = controls.projections
        self._seen: dict[str, dict[str, Any]] = {}

    def __getitem__(self, part: str) -> Mapping[str, Any]:
        seen = self._seen.get(part)
        if seen is None:
            seen = self._projections[part].view(self._row.parts[part], self._row.now_ms)
            self._seen[part] = seen
        return seen

    def __iter__(self) -> Iterator[str]:
        return (part for part in self._row.parts if part in self._projections)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, part: object) -> bool:
        return part in self._row.parts and part in self._projections


class FleetFigures(Mapping[str, Mapping[str, Any]]):
    """Fleets as expressions read them: `fleets.web.healthy_share`. One that is not known or has no members is missing:
    an expression on it does not match."""

    def __init__(self, fleets: Mapping[str, FleetSummary]) -> None:
        self._fleets = fleets

    def __getitem__(self, name: str) -> Mapping[str, Any]:
        fleet = self._fleets[name]
        if fleet.unknown or not fleet.size:
            raise KeyError(name)
        return {
            "size": fleet.size,
            "healthy": fleet.healthy,
            "in_flight": fleet.in_flight,
            "down": fleet.down,
            "healthy_share": fleet.healthy / fleet.size,
            "down_share": fleet.down / fleet.size,
        }

    def __iter__(self) -> Iterator[str]:
        return iter(self._fleets)

    def __len__(self) -> int:
        return len(self._fleets)


class Brief(Struct, frozen=True, kw_only=True):
    """What every agent on this event shares: the views of the row's parts, and the scope for expressions."""

    event: Event
    subject: Subject
    now_ms: int
    views: Views
    scope: Scope
    live: tuple[str, ...]
    heard: Mapping[str, int]


def brief(
    row: Row,
    event: Event,
    subject: Subject,
    controls: Controls,
    heard: Mapping[str, int] = NOT_HEARD,
    fleets: Mapping[str, FleetSummary] = NO_FLEETS,
) -> Brief:
    """The row's parts as they are seen now, and one scope for all expressions on this event."""
    views = Views(row, controls)
    variables: dict[str, Any] = {
        "data": event.data,
        "rows": views,
        "subject": {"kind": subject.kind, "name": subject.name, "id": subject.id},
        "event": {"type": event.type, "source": event.lineage.source},
    }
    if controls.fleets.are_read:
        variables["fleets"] = FleetFigures(fleets)
    scope = controls.expressions.scope(variables)
    live = tuple([live.action_class for live in row.live])
    return Brief(event=event, subject=subject, now_ms=row.now_ms, views=views, scope=scope, live=live, heard=heard)


def context_for(found: AgentInForce, row: Row, shared: Brief) -> Context:
    """What one agent is shown: only the parts that it declared that it reads."""
    agent = found.agent
    rows = {part: shared.views[part] for part in agent.reads if part in shared.views}
    return Context(
        agent=agent.name,
        agent_version=agent.version,
        event=shared.event,
        subject=shared.subject,
        now_ms=shared.now_ms,
        rows=rows,
        ages_ms={part: shared.now_ms - row.folded_ms[part] for part in rows},
        own=row.own.get(agent.name),
        live=shared.live,
        action_version=row.action_version,
        scope=shared.scope,
        heard=shared.heard,
    )
