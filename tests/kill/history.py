"""What was found, and all that a log holds: each message once, with how often it stands there."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from control_plane.messages import Command, Context, Decision, Effect, Event, Proposed, Verdict, topics
from control_plane.messages.event import DECISION_PROPOSED
from control_plane.messages.wire import decode, decode_context, decode_event, proposed_of
from control_plane.ports.backbone import Record
from control_plane.ports.log_reader import LogReader

TOPICS = topics.KEYED_BY_SUBJECT
EXAMPLES_SHOWN_MAX = 5


@dataclass
class Findings:
    """What was counted, and what is wrong."""

    counts: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    slowest_s: dict[str, float] = field(default_factory=dict)
    """What took longest of each kind, in seconds."""

    def wrong(self, promise: str, what: str, cases: Iterable[object]) -> None:
        """Note a violation, with a few of its cases."""
        found = list(cases)
        if found:
            self.violations.append(f"{promise}: {len(found)} {what}, such as {found[:EXAMPLES_SHOWN_MAX]}")

    def add(self, others: "Findings") -> None:
        """What was found elsewhere, or on another log."""
        self.counts.update(others.counts)
        self.violations += others.violations
        for name, seconds in others.slowest_s.items():
            self.slowest_s[name] = max(seconds, self.slowest_s.get(name, 0.0))


class History:
    """All that the log holds, each message once, with how often it stands there."""

    def __init__(self, reader: LogReader) -> None:
        self.records: dict[str, list[Record]] = {
            topic: [r for p in range(reader.partitions(topic)) for r in reader.read(topic, p)] for topic in TOPICS
        }
        self.bodies: dict[tuple[str, str], set[bytes]] = defaultdict(set)
        self.events: dict[str, Event] = {}
        self.event_copies: Counter[str] = Counter()
        self.first_places: dict[str, Record] = {}
        for record in self.records[topics.EVENTS]:
            event = decode_event(record.value, record.recorded_ms)
            self.events.setdefault(event.lineage.message_id, event)
            self.first_places.setdefault(event.lineage.message_id, record)
            self.event_copies[event.lineage.message_id] += 1
        self.contexts = self._contexts()
        self.decisions = self._internal(topics.DECISIONS, Decision)
        self.verdicts = self._internal(topics.VERDICTS, Verdict)
        self.commands = self._internal(topics.COMMANDS, Command)
        self.effects = self._internal(topics.EFFECTS, Effect)

    def first_copies(self) -> Iterator[tuple[Record, Event]]:
        """Each event where it stands first, in the order of its partition."""
        return ((self.first_places[id], event) for id, event in self.events.items())

    def messages(self) -> Iterator[Event | Context | Decision | Verdict | Command | Effect]:
        """All of them, whatever they are."""
        for found in (self.events, self.contexts, self.decisions, self.verdicts, self.commands, self.effects):
            yield from found.values()

    def answers(self) -> Iterator[tuple[str, Proposed]]:
        """What slow agents have answered, with the id of the event that brought it."""
        for id, event in self.events.items():
            if event.type == DECISION_PROPOSED:
                yield id, proposed_of(event)

    def _contexts(self) -> dict[str, Context]:
        found: dict[str, Context] = {}
        for record in self.records[topics.CONTEXTS]:
            context = decode_context(record.value)
            found.setdefault(context.lineage.message_id, context)
            self.bodies[topics.CONTEXTS, context.lineage.message_id].add(record.value)
        return found

    def _internal(self, topic: str, message_type: type) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for record in self.records[topic]:
            message = decode(record.value, message_type)
            found.setdefault(message.lineage.message_id, message)
            self.first_places.setdefault(message.lineage.message_id, record)
            self.bodies[topic, message.lineage.message_id].add(record.value)
        return found
