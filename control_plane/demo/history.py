"""What the log holds of one run: every message once, however many copies the log has of it."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

from control_plane.errors import InvalidMessage
from control_plane.messages import Command, Decision, Effect, Event, Outcome, Proposed, Verdict, topics
from control_plane.messages.event import DECISION_PROPOSED, OUTCOME_PREFIX
from control_plane.messages.wire import decode, decode_event, outcome_of, proposed_of
from control_plane.ports.backbone import Record
from control_plane.ports.log_reader import LogReader

M = TypeVar("M", Decision, Verdict, Command, Effect)


@dataclass(frozen=True, slots=True)
class History:
    """The messages of a run, in the order of their topics and partitions."""

    decisions: tuple[Decision, ...]
    verdicts: tuple[Verdict, ...]
    commands: tuple[Command, ...]
    outcomes: tuple[Outcome, ...]
    effects: tuple[Effect, ...]
    proposed: tuple[Proposed, ...] = ()
    """Answers of slow agents."""

    def answers(self) -> Counter[str]:
        """How many verdicts gave each answer."""
        return Counter(verdict.answer for verdict in self.verdicts)


def read_history(reader: LogReader, since_ms: int) -> History:
    """Everything that was appended from a moment on, milliseconds since the epoch."""
    return History(
        decisions=tuple(_messages(reader, topics.DECISIONS, Decision, since_ms)),
        verdicts=tuple(_messages(reader, topics.VERDICTS, Verdict, since_ms)),
        commands=tuple(_messages(reader, topics.COMMANDS, Command, since_ms)),
        outcomes=tuple(_outcomes(reader, since_ms)),
        effects=tuple(_messages(reader, topics.EFFECTS, Effect, since_ms)),
        proposed=tuple(_proposed(reader, since_ms)),
    )


def _messages(reader: LogReader, topic: str, message_type: type[M], since_ms: int) -> Iterator[M]:
    seen: set[str] = set()
    for record in _records(reader, topic, since_ms):
        message = decode(record.value, message_type)
        if message.lineage.message_id not in seen:
            seen.add(message.lineage.message_id)
            yield message


def _outcomes(reader: LogReader, since_ms: int) -> Iterator[Outcome]:
    return (outcome_of(event) for event in _events(reader, since_ms) if event.type.startswith(OUTCOME_PREFIX))


def _proposed(reader: LogReader, since_ms: int) -> Iterator[Proposed]:
    return (proposed_of(event) for event in _events(reader, since_ms) if event.type == DECISION_PROPOSED)


def _events(reader: LogReader, since_ms: int) -> Iterator[Event]:
    seen: set[tuple[str, str]] = set()
    for record in _records(reader, topics.EVENTS, since_ms):
        try:
            event = decode_event(record.value, record.recorded_ms)
        except InvalidMessage:
            continue  # On a log that others write to as well: a dead letter, and nothing of ours.
        identity = event.lineage.source, event.lineage.message_id
        if identity not in seen:
            seen.add(identity)
            yield event


def _records(reader: LogReader, topic: str, since_ms: int) -> Iterator[Record]:
    for partition in range(reader.partitions(topic)):
        first, _ = reader.bounds(topic, partition)
        yield from (record for record in reader.read(topic, partition, first) if record.recorded_ms >= since_ms)
