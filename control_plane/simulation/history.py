"""All that a log holds, each message once, and where it stands; and what is wrong with it.

Takes nobody's word but the log's. What cannot be read is kept apart.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from msgspec import Struct

from control_plane.causality import Lineage
from control_plane.errors import InvalidMessage
from control_plane.messages import Command, Context, DeadLetter, Decision, Effect, Event, Outcome, Verdict, topics
from control_plane.messages.event import DECISION_PROPOSED, OUTCOME_PREFIX, TICK
from control_plane.messages.wire import decode, decode_context, decode_event, outcome_of
from control_plane.ports.backbone import Record
from control_plane.ports.log_reader import LogReader

CASES_MAX = 5


class Violation(Struct, frozen=True, kw_only=True):
    """A promise that was not kept. `subjects` are those it happened to, as far as it is told of any."""

    promise: str
    what: str
    cases: tuple[str, ...]
    count: int
    subjects: tuple[str, ...] = ()

    def text(self) -> str:
        """For people."""
        return f"{self.promise}: {self.count} {self.what}, such as {'; '.join(self.cases)}"


class Findings:
    """What was counted, and what is wrong."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.violations: list[Violation] = []

    def wrong(self, promise: str, what: str, cases: Iterable[object], subjects: Iterable[str] = ()) -> None:
        """Note a violation, with a few of its cases; no cases are none."""
        found = [str(case) for case in cases]
        if found:
            self.violations.append(
                Violation(
                    promise=promise,
                    what=what,
                    cases=tuple(sorted(found)[:CASES_MAX]),
                    count=len(found),
                    subjects=tuple(sorted(set(subjects))),
                )
            )


class Placed(Struct, frozen=True, gc=False):
    """An event at one of the places where it stands."""

    partition: int
    offset: int
    recorded_ms: int
    event: Event


class History:
    """A log as it was read, whole."""

    def __init__(self, reader: LogReader) -> None:
        self.records: dict[str, list[Record]] = {
            topic: [r for p in range(reader.partitions(topic)) for r in reader.read(topic, p)]
            for topic in topics.KEYED_BY_SUBJECT
        }
        self.bodies: defaultdict[tuple[str, str], set[bytes]] = defaultdict(set)
        self.unreadable: list[Record] = []
        self.events: dict[tuple[str, str], list[Placed]] = defaultdict(list)
        """By source and id, where it stands first comes first."""
        self._read_events()
        self.contexts: dict[str, Context] = self._contexts()
        self.decisions: dict[str, Decision] = self._messages(topics.DECISIONS, Decision)
        self.verdicts: dict[str, Verdict] = self._messages(topics.VERDICTS, Verdict)
        self.commands: dict[str, Command] = self._messages(topics.COMMANDS, Command)
        self.effects: dict[str, Effect] = self._messages(topics.EFFECTS, Effect)
        self.letters: dict[str, DeadLetter] = self._messages(topics.DEAD_LETTERS, DeadLetter)
        self.outcomes: dict[str, list[tuple[Placed, Outcome]]] = self._outcomes()
        """Distinct outcomes by command id."""
        self._brought = self._decisions_brought()
        self.by_id: dict[str, list[Placed]] = {}
        for (_, message_id), placed in self.events.items():
            self.by_id.setdefault(message_id, []).extend(placed)

    def given_at(self, command: Command) -> Placed | None:
        """The record that a command follows from at once: what an agent was shown, or the event that brought its
        answer. Of a tick that stands there twice, the later place."""
        brought = self._brought.get(command.decision_id)
        if brought is not None:
            return brought
        decision = self.decisions.get(command.decision_id)
        placed = self.by_id.get(decision.lineage.causation_id or "", ()) if decision is not None else ()
        if not placed:
            return None
        return placed[-1] if placed[0].event.type == TICK else placed[0]

    def shown(self, command: Command) -> Event | None:
        """The event that the agent was shown, wherever and whenever it decided."""
        decision = self.decisions.get(command.decision_id)
        placed = self.by_id.get(decision.lineage.causation_id or "", ()) if decision is not None else ()
        return placed[0].event if placed else None

    def lineages(self) -> Iterator[tuple[str, Lineage]]:
        """Of all that the loop said, with its subject."""
        said: tuple[dict[str, Any], ...] = (self.contexts, self.decisions, self.verdicts, self.commands, self.effects)
        for messages in said:
            for message in messages.values():
                yield (message.subject.id if isinstance(message, Context) else message.subject), message.lineage
        for found in self.outcomes.values():
            for _, outcome in found:
                yield outcome.subject, outcome.lineage

    def _read_events(self) -> None:
        for record in self.records[topics.EVENTS]:
            try:
                event = decode_event(record.value, record.recorded_ms)
            except InvalidMessage:
                self.unreadable.append(record)
                continue
            placed = Placed(record.partition, record.offset, record.recorded_ms, event)
            self.events[event.lineage.source, event.lineage.message_id].append(placed)

    def _decisions_brought(self) -> dict[str, Placed]:
        """Decisions that were made apart, by where they came back."""
        found: dict[str, Placed] = {}
        for copies in self.events.values():
            if copies[0].event.type == DECISION_PROPOSED:
                for decision in copies[0].event.data.get("decisions", ()):
                    found.setdefault(decision["lineage"]["message_id"], copies[0])
        return found

    def _messages(self, topic: str, message_type: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for record in self.records[topic]:
            message = decode(record.value, message_type)
            found.setdefault(message.lineage.message_id, message)
            self.bodies[topic, message.lineage.message_id].add(record.value)
        return found

    def _contexts(self) -> dict[str, Context]:
        found: dict[str, Context] = {}
        for record in self.records[topics.CONTEXTS]:
            context = decode_context(record.value)
            found.setdefault(context.lineage.message_id, context)
            self.bodies[topics.CONTEXTS, context.lineage.message_id].add(record.value)
        return found

    def _outcomes(self) -> dict[str, list[tuple[Placed, Outcome]]]:
        found: defaultdict[str, list[tuple[Placed, Outcome]]] = defaultdict(list)
        for copies in self.events.values():
            event = copies[0].event
            if not event.type.startswith(OUTCOME_PREFIX):
                continue
            try:
                outcome = outcome_of(event)
            except InvalidMessage:
                continue
            found[outcome.command_id].append((copies[0], outcome))
            distinct = {(one.event.type, str(one.event.data)) for one in copies}
            self.bodies[topics.EVENTS, event.lineage.message_id].update(str(one).encode() for one in distinct)
        return found
