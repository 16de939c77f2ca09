"""What a log should hold, worked out again in the plainest way, and all that is wrong with one that was really written.

It folds record by record with `step` alone: no batches, no crashes, nothing of `control_plane.partition`.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping

import msgspec
from msgspec.structs import replace

from control_plane.adapters.memory import MemoryLog
from control_plane.catalogue import Controls
from control_plane.causality.lineage import SOURCE
from control_plane.errors import InvalidMessage
from control_plane.loop.arrival import Arrival
from control_plane.loop.intake import check_event
from control_plane.loop.step import Ask, Done, step
from control_plane.messages import (
    Command,
    Context,
    DeadLetter,
    Decision,
    Effect,
    Event,
    Question,
    Ruling,
    Verdict,
    topics,
)
from control_plane.messages.event import CONTROLS_ADOPTED, EFFECT_JUDGED, TICK
from control_plane.messages.wire import decode, decode_event, encode, encode_context
from control_plane.ports.backbone import Record
from control_plane.ports.controls_source import ControlsSource
from state.rows import ROW_BYTES_MAX, Row, decode_row, decode_stored, encode_row
from tests.builders import Answering

_TOPICS = {
    Context: topics.CONTEXTS,
    Decision: topics.DECISIONS,
    Verdict: topics.VERDICTS,
    Command: topics.COMMANDS,
    Effect: topics.EFFECTS,
}
JUDGED = (*_TOPICS.values(), topics.DEAD_LETTERS, topics.EVENTS)

Said = tuple[str, str, str, bytes]
"""Topic, subject, message id, bytes."""


def violations(log: MemoryLog, controls: ControlsSource, answer: Answering, *, exactly_once: bool) -> list[str]:
    """All that a log and its rows have wrong, in words; empty when they are exact."""
    found: list[str] = []
    answering = _pinned(log, answer)
    for partition in range(log.partitions(topics.EVENTS)):
        fold = CleanFold(partition, controls, answering)
        for record in log.read(topics.EVENTS, partition):
            fold.fold(record)
        for topic in JUDGED:
            found += _wrong_in_topic(topic, fold.said, _recorded(log, topic, partition), exactly_once)
        found += _wrong_rows(fold.rows, log.rows[partition])
    return found


class CleanFold:
    """One partition from its beginning, one record at a time."""

    def __init__(self, partition: int, controls: ControlsSource, answer: Answering) -> None:
        self.rows: dict[str, Row] = {}
        self.said: list[Said] = []
        self._partition = partition
        self._source = controls
        self._answer = answer
        self._controls: Controls | None = None

    def fold(self, record: Record) -> None:
        """Take one record."""
        try:
            event = decode_event(record.value, record.recorded_ms)
            by_owner = event.lineage.source == SOURCE
            if event.type == CONTROLS_ADOPTED and by_owner:
                self._controls = self._source.at(event.data["revision"])
            elif event.type == TICK and by_owner:
                for subject, row in sorted(self.rows.items()):
                    due_ms = row.due_ms()
                    if due_ms is not None and due_ms <= record.recorded_ms:
                        self._step(subject, event, record)
            else:
                self._admit_and_step(event, record)
        except InvalidMessage as reason:
            self._bury(record, reason, "")

    def _admit_and_step(self, event: Event, record: Record) -> None:
        try:
            if self._controls is None:
                raise _no_controls()
            check_event(event, record.recorded_ms, self._controls)
        except InvalidMessage as reason:
            self._bury(record, reason, event.subject)
            return
        self._step(event.subject, event, record)

    def _step(self, subject: str, event: Event, record: Record) -> None:
        assert self._controls is not None
        before = self.rows.get(subject, Row(subject=subject))
        result = step(self._controls, before, Arrival(event, record.offset, record.recorded_ms))
        while isinstance(result, Ask):
            result = result.resume({question.id: self._answer(question) for question in result.questions})
        if len(encode_row(result.row)) > ROW_BYTES_MAX:
            self.rows[subject] = replace(before, applied=record.offset)
            self._bury(record, _too_large(), subject)
            return
        self.rows[subject] = result.row
        self._say(subject, result)
        for failure in result.failures:
            self._bury(record, failure.reason, subject, failure.agent)

    def _say(self, subject: str, done: Done) -> None:
        for message in done.said:
            raw = encode_context(message) if isinstance(message, Context) else encode(message)
            said = (subject, message.lineage.message_id, raw)
            self.said.append((_TOPICS[type(message)], *said))
            if isinstance(message, Effect):
                self.said.append((topics.EVENTS, *said))

    def _bury(self, record: Record, reason: InvalidMessage, subject: str, agent: str | None = None) -> None:
        letter = DeadLetter.of(
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            recorded_ms=record.recorded_ms,
            record=record.value,
            reason=reason,
            subject=subject,
            agent=agent,
        )
        self.said.append((topics.DEAD_LETTERS, letter.subject, letter.lineage.message_id, encode(letter)))


def _no_controls() -> InvalidMessage:
    return InvalidMessage(
        "no_controls",
        "the event came before any controls were adopted in its partition",
        cure="Start the loop role first; then send it again.",
    )


def _too_large() -> InvalidMessage:
    return InvalidMessage(
        "row_too_large",
        f"the subject's row would grow beyond {ROW_BYTES_MAX} bytes",
        cure="Keep less of the event in rows/*.yaml, or send smaller values.",
    )


def _recorded(log: MemoryLog, topic: str, partition: int) -> list[Said]:
    """What the loop put out, as it stands in the log; of `events.v1` only what it says itself."""
    found = []
    for record in log.read(topic, partition):
        if topic == topics.EVENTS and b'"type":"' + EFFECT_JUDGED.encode() not in record.value:
            continue
        envelope = msgspec.json.decode(record.value)
        found.append((topic, envelope["subject"], envelope["id"], record.value))
    return found


def _wrong_in_topic(topic: str, said: Iterable[Said], recorded: list[Said], exactly_once: bool) -> list[str]:
    expected = {message_id: raw for where, _, message_id, raw in said if where == topic}
    first: dict[str, bytes] = {}
    wrong = []
    for _, _, message_id, raw in recorded:
        if message_id in first and exactly_once:
            wrong.append(f"{topic} {message_id}: twice")
        if first.setdefault(message_id, raw) != raw:
            wrong.append(f"{topic} {message_id}: copies differ")
    wrong += [f"{topic} {message_id}: missing" for message_id in expected.keys() - first.keys()]
    wrong += [f"{topic} {message_id}: follows from nothing" for message_id in first.keys() - expected.keys()]
    wrong += [f"{topic} {m}: other bytes" for m in first.keys() & expected.keys() if first[m] != expected[m]]
    in_order = [(where, subject, message_id) for where, subject, message_id, _ in said if where == topic]
    if _order(in_order) != _order([(where, subject, m) for where, subject, m, _ in recorded]):
        wrong.append(f"{topic}: not in the order of the subject's records")
    return wrong


def _order(said: Iterable[tuple[str, str, str]]) -> dict[str, list[str]]:
    """First appearances, subject by subject."""
    order: dict[str, dict[str, None]] = defaultdict(dict)
    for _, subject, message_id in said:
        order[subject].setdefault(message_id)
    return {subject: list(ids) for subject, ids in order.items()}


def _wrong_rows(expected: Mapping[str, Row], stored: Mapping[bytes, bytes]) -> list[str]:
    kept = {key.decode(): decode_row(decode_stored(value).row) for key, value in stored.items()}
    subjects = sorted(expected.keys() | kept.keys())
    return [f"row {subject}: not the clean fold" for subject in subjects if expected.get(subject) != kept.get(subject)]


def _pinned(log: MemoryLog, answer: Answering) -> Answering:
    """Faults of the engine cannot be worked out again: they are taken from the record."""
    faults: dict[str, Ruling] = {}
    for partition in range(log.partitions(topics.VERDICTS)):
        for record in log.read(topics.VERDICTS, partition):
            verdict = decode(record.value, Verdict)
            if verdict.problem is not None:
                faults[verdict.decision_id] = Ruling(
                    answer=verdict.answer,  # type: ignore[arg-type]
                    reasons=verdict.reasons,
                    revision=verdict.policy_revision,
                    problem=verdict.problem,
                )

    def answering(question: Question) -> Ruling:
        return faults.get(question.id) or answer(question)

    return answering
