"""What a log should hold, worked out again in the plainest way, and all that is wrong with one that was really written.

It folds record by record with `step` alone: no batches, no crashes, nothing of `control_plane.partition`.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from control_plane.adapters.memory import MemoryLog
from control_plane.catalogue import Controls, Fleet
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
    Proposed,
    Question,
    Ruling,
    Subject,
    Verdict,
    topics,
)
from control_plane.messages.event import (
    CONTROLS_ADOPTED,
    EFFECT_JUDGED,
    PARTITION_CLAIMED,
    PARTITION_SUMMARISED,
    TICK,
)
from control_plane.messages.summary import SUMMARY_AGE_MAX_MS, FleetSummary
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

GENERATION = 0
"""Of the log, to which nobody has ever said go on."""

Said = tuple[str, str, str, bytes]
"""Topic, subject, message id, bytes."""


def violations(log: MemoryLog, controls: ControlsSource, answer: Answering, *, exactly_once: bool) -> list[str]:
    """All that a log and its rows have wrong, in words; empty when they are exact."""
    found: list[str] = []
    crossed: dict[str, bytes] = {}
    answering = _pinned(log, answer)
    for partition in range(log.partitions(topics.EVENTS)):
        fold = CleanFold(partition, controls, answering)
        for record in log.read(topics.EVENTS, partition):
            fold.fold(record)
        for topic in JUDGED:
            found += _wrong_in_topic(topic, fold.said, _recorded(log, topic, partition), exactly_once)
        found += _wrong_rows(fold.rows, log.rows[partition])
        crossed |= fold.crossed
    return found + _wrong_crossings(crossed, log)


class CleanFold:
    """One partition from its beginning, one record at a time."""

    def __init__(self, partition: int, controls: ControlsSource, answer: Answering) -> None:
        self.rows: dict[str, Row] = {}
        self.said: list[Said] = []
        self.crossed: dict[str, bytes] = {}
        """What was said to other subjects, wherever their partition is, by id."""
        self._partition = partition
        self._own = f"partition/{partition}"
        self._source = controls
        self._answer = answer
        self._controls: Controls | None = None
        self._partitions = 0
        self._told: dict[str, dict[str, Any]] = {}
        self._heard: dict[str, int] = {}

    def fold(self, record: Record) -> None:
        """Take one record."""
        try:
            event = decode_event(record.value, record.recorded_ms)
            by_owner = event.lineage.source == SOURCE
            if event.type == CONTROLS_ADOPTED and by_owner:
                self._controls = self._source.at(event.data["revision"])
            elif event.type == PARTITION_SUMMARISED and by_owner:
                self._take_summary(event, record)
            elif event.type == PARTITION_CLAIMED and by_owner:
                return
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
        place = (self._partition, GENERATION)
        arrival = Arrival(event, record.offset, record.recorded_ms, self._fleets(record), dict(self._heard), *place)
        result = step(self._controls, before, arrival)
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

    def _take_summary(self, event: Event, record: Record) -> None:
        """What was told last, in a row of the partition's own."""
        at_ms = max(record.recorded_ms, self.rows[self._own].now_ms if self._own in self.rows else 0)
        self._partitions = event.data["partitions"]
        epochs = event.data.get("epochs", {})
        for number, counts in event.data["counts"].items():
            epoch = epochs.get(number, 0)
            if epoch >= self._told.get(number, {}).get("epoch", 0):
                self._told[number] = {"at_ms": at_ms, "counts": counts} | ({"epoch": epoch} if epoch else {})
        for source, heard_ms in event.data["heard"].items():
            self._heard[source] = max(heard_ms, self._heard.get(source, 0))
        parts = {"partitions": self._partitions, "told": dict(self._told), "heard": dict(self._heard)}
        self.rows[self._own] = Row(subject=self._own, applied=record.offset, now_ms=at_ms, parts=parts)

    def _fleets(self, record: Record) -> dict[str, FleetSummary]:
        """Every fleet, counted over all rows of this partition, and as it was told of the others."""
        assert self._controls is not None
        return {fleet.name: self._fleet(fleet, record) for fleet in self._controls.fleets.all}

    def _fleet(self, fleet: Fleet, record: Record) -> FleetSummary:
        others = [str(number) for number in range(self._partitions) if number != self._partition]
        told = [self._told.get(number) for number in others]
        unknown = "" if self._partitions else "nothing was told of the partitions yet"
        for number, found in zip(others, told, strict=True):
            unknown = unknown or _why_unknown(number, found, fleet, record.recorded_ms)
        if unknown:
            return FleetSummary(unknown=unknown)
        members = [row for row in self.rows.values() if row.registered and _is_in(self._controls, fleet, row)]
        healthy = [row for row in members if fleet.healthy is None or fleet.revision in row.healthy]
        down = [row for row in members if row not in healthy or row.live]
        counts = [found["counts"][fleet.name] for found in told if found is not None]
        own = self._told.get(str(self._partition), {"counts": {}})["counts"].get(fleet.name, {})
        own_told = own["down"] if own.get("revision") == fleet.revision else 0
        return FleetSummary(
            size=len(members) + sum(count["size"] for count in counts),
            healthy=len(healthy) + sum(count["healthy"] for count in counts),
            in_flight=len([row for row in members if row.live]) + sum(count["in_flight"] for count in counts),
            down=len(down) + sum(count["down"] for count in counts),
            here=len(members),
            untold=len(down) - (own_told if self._partitions > 1 else len(down)),
        )

    def _say(self, subject: str, done: Done) -> None:
        for message in done.said:
            raw = encode_context(message) if isinstance(message, Context) else encode(message)
            if isinstance(message, Proposed):
                self.crossed[message.lineage.message_id] = raw
                continue
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


def _is_in(controls: Controls | None, fleet: Fleet, row: Row) -> bool:
    assert controls is not None
    subject = Subject.parse(row.subject)
    as_variable = {"kind": subject.kind, "name": subject.name, "id": subject.id}
    return fleet.members.evaluate(controls.expressions.scope({"subject": as_variable})) is True


def _why_unknown(number: str, told: dict[str, Any] | None, fleet: Fleet, now_ms: int) -> str:
    if told is None:
        return f"partition {number} was never heard of"
    age_ms = now_ms - told["at_ms"]
    if age_ms > SUMMARY_AGE_MAX_MS:
        return (
            f"partition {number} was last heard of {age_ms} ms ago, and after {SUMMARY_AGE_MAX_MS} ms it is not known "
            "any more"
        )
    known = told["counts"].get(fleet.name, {}).get("revision") == fleet.revision
    return "" if known else f"partition {number} counts it under another definition"


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
        # Under whose row it was said: what is refused before it goes to another subject is about that one all the same.
        found.append((topic, record.key.decode(), envelope["id"], record.value))
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


def crossings(log: MemoryLog) -> dict[str, set[bytes]]:
    """What stands on the log of what subjects said to others: bytes by id."""
    found: dict[str, set[bytes]] = defaultdict(set)
    for partition in range(log.partitions(topics.EVENTS)):
        for record in log.read(topics.EVENTS, partition):
            if b'"origin":[' in record.value:
                found[msgspec.json.decode(record.value)["id"]].add(record.value)
    return found


def _wrong_crossings(expected: Mapping[str, bytes], log: MemoryLog) -> list[str]:
    recorded = crossings(log)
    wrong = [f"proposal {message_id}: missing" for message_id in expected.keys() - recorded.keys()]
    wrong += [f"proposal {message_id}: follows from nothing" for message_id in recorded.keys() - expected.keys()]
    return wrong + [
        f"proposal {m}: other bytes" for m in recorded.keys() & expected.keys() if recorded[m] != {expected[m]}
    ]


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
