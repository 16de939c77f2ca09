"""A REST app over a log and an audit store in memory, for the tests of the API and of the command line."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from control_plane.api.app import create_app
from control_plane.api.keys import ApiKey
from control_plane.api.ports import ApiPorts
from control_plane.catalogue import ControlItem, Controls, ControlSet
from control_plane.cycle import Cycle
from control_plane.errors import AuditUnavailable, InvalidWorkspace
from control_plane.messages import (
    Command,
    DeadLetter,
    Decision,
    Effect,
    Event,
    Outcome,
    Reason,
    Ruling,
    Verdict,
    topics,
)
from control_plane.messages.cancellation import Cancellation
from control_plane.messages.outcome import Status
from control_plane.messages.wire import encode, encode_event
from control_plane.ports.audit import PAGE_MESSAGES_MAX, Appended, Audit, Kept, Page, RecordedMessage
from control_plane.ports.backbone import Output, Position, Record
from control_plane.ports.bundles import Bundles
from control_plane.recorder import recorded
from control_plane.workspace.diffing import Applied, Moved, changes_between
from tests.builders import NOW_MS, control_set, controls, intent, item, row, rule

KEY = "a-key-for-tests-0123456789"
TOPIC_OF: dict[type, str] = {
    Event: topics.EVENTS,
    Decision: topics.DECISIONS,
    Verdict: topics.VERDICTS,
    Command: topics.COMMANDS,
    Outcome: topics.EVENTS,
    Effect: topics.EFFECTS,
    DeadLetter: topics.DEAD_LETTERS,
}
MEASURED_SCHEMA = {"type": "object", "required": ["rss"], "properties": {"rss": {"type": "number"}}}


class MemoryAudit:
    """An audit store in memory, in the order of arrival. `away` makes it unreachable."""

    def __init__(self) -> None:
        self.kept: list[Kept] = []
        self.away = False

    async def append(self, messages: Sequence[RecordedMessage]) -> Appended:
        """Store messages; tests give none twice."""
        for message in messages:
            self.kept.append(Kept(sequence=len(self.kept) + 1, copies=1, message=message))
        return Appended(stored=len(messages), copies=0, known=0, contradicting=0)

    async def query(self, page: Page) -> Sequence[Kept]:
        """One page."""
        self._answer()
        found = [kept for kept in self.kept if _matches(page, kept)]
        if page.newest_first:
            found = [kept for kept in reversed(found) if not page.after or kept.sequence < page.after]
        else:
            found = [kept for kept in found if kept.sequence > page.after]
        return found[: min(page.limit, PAGE_MESSAGES_MAX)]

    async def get(self, message_id: str) -> Sequence[Kept]:
        """Every message with this id."""
        self._answer()
        return [kept for kept in self.kept if kept.message.message_id == message_id]

    def _answer(self) -> None:
        if self.away:
            raise AuditUnavailable("The audit store cannot be reached, so nothing can be shown.")


def _matches(page: Page, kept: Kept) -> bool:
    wanted = {name: getattr(page, name) for name in ("topic", "type", "subject", "correlation_id")}
    return all(value is None or getattr(kept.message, name) == value for name, value in wanted.items())


class MemoryDesk:
    """Controls that are changed in memory. `refuses` is what an apply is refused with."""

    def __init__(self, *items: ControlItem) -> None:
        self.controls = control_set(*items)
        self.known = dict.fromkeys(self.controls.items)
        self.refuses: InvalidWorkspace | None = None
        self.cancelled: list[tuple[Cancellation, Event]] = []

    @property
    def wanted(self) -> str:
        """The revision in force."""
        return self.controls.revision

    @property
    def items(self) -> Sequence[ControlItem]:
        """The items in force."""
        return self.controls.items

    def versions(self, kind: str) -> dict[str, list[ControlItem]]:
        """What was ever in force."""
        found: dict[str, list[ControlItem]] = {}
        for known in self.known:
            if known.kind == kind:
                found.setdefault(known.name, []).append(known)
        return found

    async def apply(self, items: Sequence[ControlItem], expected: str) -> Applied | Moved:
        """Take items over, if nobody else did before."""
        if expected != self.wanted:
            return Moved(self.wanted)
        if self.refuses is not None:
            raise self.refuses
        before, self.controls = self.controls, ControlSet.of(items)
        self.known |= dict.fromkeys(items)
        changes = changes_between(before.items, items)
        return Applied(before=before.revision, revision=self.wanted, changes=changes)

    async def cancel(self, wish: Cancellation, event: Event) -> None:
        """Keep a cancellation."""
        self.cancelled.append((wish, event))


@dataclass(kw_only=True)
class World:
    """What the app stands on, and the app."""

    audit: Audit
    controls: Controls | None
    appended: list[Output] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    append_raises: Exception | None = None
    on_loopback: bool = True
    metrics: CollectorRegistry = field(default_factory=CollectorRegistry)
    desk: MemoryDesk = field(default_factory=MemoryDesk)
    followed: dict[int, str] = field(default_factory=dict)
    begun: bool | None = None
    bundles: Bundles | None = None
    offsets: dict[str, int] = field(default_factory=dict)
    app: FastAPI = field(init=False)

    def __post_init__(self) -> None:
        ports = ApiPorts(
            append=self.append,
            audit=self.audit,
            controls=lambda: self.controls,
            health=lambda: self.reasons,
            metrics=self.metrics,
            key=ApiKey.of(KEY),
            on_loopback=self.on_loopback,
            now_ms=lambda: NOW_MS,
            desk=self.desk,
            owned=lambda: self.followed,
            partitions=2,
            has_begun=lambda _command: self.begun,
            settings={"durability": "flush"},
            bundles=self.bundles,
        )
        self.app = create_app(ports)

    async def append(self, outputs: Sequence[Output]) -> Sequence[Position]:
        """What stands in for the backbone."""
        if self.append_raises is not None:
            raise self.append_raises
        self.appended += outputs
        return [Position(output.topic, 0, n) for n, output in enumerate(outputs)]

    def client(self, key: str | None = KEY) -> httpx.AsyncClient:
        """A client that needs no socket."""
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url="http://setpoint", headers=headers)

    async def record(self, *messages: Any) -> None:
        """Record messages as if they had stood on the log."""
        await self.audit.append([recorded(self._record(message)) for message in messages])

    async def record_raw(self, topic: str, value: bytes) -> None:
        """Record bytes as if they had stood on the log."""
        await self.audit.append([recorded(self._at(topic, value))])

    def _record(self, message: Any) -> Record:
        value = encode_event(message) if isinstance(message, Event) else encode(message)
        return self._at(TOPIC_OF[type(message)], value)

    def _at(self, topic: str, value: bytes) -> Record:
        offset = self.offsets.get(topic, 0)
        self.offsets[topic] = offset + 1
        return Record(topic=topic, partition=0, offset=offset, key=b"key", value=value, recorded_ms=NOW_MS)


def a_workspace() -> Controls:
    """One intent, one row, one schema, and a rule that expects its restart to help."""
    expects = {"where": "rows.health.rss < 300.0", "within": "5s"}
    schema = item("schema", "service.measured", MEASURED_SCHEMA)
    return controls(intent(), row(), schema, rule(expects=expects, reads=["health"]))


def a_world(audit: Audit | None = None, **changes: Any) -> World:
    """A world with a workspace in force."""
    return World(**{"audit": audit or MemoryAudit(), "controls": a_workspace(), **changes})


class Loop:
    """A real loop in memory, whose messages a test records."""

    def __init__(
        self, *, answer: str = "allow", status: Status = "succeeded", controls: Controls | None = None
    ) -> None:
        ruling = Ruling(answer=answer, reasons=(Reason("routine", "it is routine", "test"),), revision="p1")  # type: ignore[arg-type]
        self._cycle = Cycle(controls or a_workspace(), lambda question: ruling, lambda command: status)

    def feed(self, event: Event, at_ms: int = NOW_MS) -> list[Any]:
        """The event and all that the loop said about it, in order."""
        return [event, *self._cycle.feed(event, at_ms)]

    def tick(self, at_ms: int) -> list[Any]:
        """What the loop says when time passes."""
        return list(self._cycle.tick(at_ms))
