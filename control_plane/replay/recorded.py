"""What the loop said when it was live, as the log holds it, by topic and id; and the rulings that cannot be asked for
again."""

from collections.abc import Iterator

import msgspec
from msgspec import Struct

from control_plane.errors import ContinuityBroken
from control_plane.messages import Question, Reason, Ruling, topics
from control_plane.ports.backbone import Position, Record
from control_plane.ports.log_reader import LogReader
from control_plane.ports.policy_engine import PolicyEngine, PolicySet
from control_plane.replay.said import SAID_IN, Said, said_in


class Recorded(Struct):
    """One message on the log: where its first copy stands, how many there are, and where the first one stands that is
    not equal to it."""

    said: Said
    place: Position
    copies: int = 1
    unequal: Position | None = None
    replayed: bool = False


class RecordedLog:
    """The index of a whole log. Holds digests, not messages."""

    def __init__(self) -> None:
        self.messages: dict[tuple[str, str], Recorded] = {}
        self.unreadable: list[Record] = []
        self.faults: dict[str, Ruling] = {}

    @classmethod
    def of(cls, reader: LogReader) -> "RecordedLog":
        """Read every topic in which the loop speaks. Raises ContinuityBroken when the beginning of one was cut."""
        found = cls()
        for topic in SAID_IN:
            for partition in range(reader.partitions(topic)):
                for record in whole_partition(reader, topic, partition):
                    found._note(record)
        return found

    def _note(self, record: Record) -> None:
        try:
            said = said_in(record.topic, record.partition, record.value)
            if said is not None:
                self._note_said(said, record)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            # On `events.v1` anybody may have written anything; the loop makes a dead letter of it.
            if record.topic != topics.EVENTS:
                self.unreadable.append(record)

    def _note_said(self, said: Said, record: Record) -> None:
        known, place = self.messages.get(said.key), Position(record.topic, record.partition, record.offset)
        if known is None:
            self.messages[said.key] = Recorded(said, place)
            if record.topic == topics.VERDICTS:
                self._note_fault(record)
            return
        known.copies += 1
        if known.unequal is None and not known.said.equals(said):
            known.unequal = place

    def _note_fault(self, record: Record) -> None:
        if _problem_decoder.decode(record.value).data.problem is not None:
            verdict = _verdict_decoder.decode(record.value).data
            self.faults[verdict.decision_id] = Ruling(
                answer="deny", reasons=verdict.reasons, revision=verdict.policy_revision, problem=verdict.problem
            )


class PinnedEngine:
    """A policy engine that repeats the recorded faults and asks the real one for everything else."""

    def __init__(self, engine: PolicyEngine, faults: dict[str, Ruling]) -> None:
        self.concurrent = engine.concurrent
        self.pinned = 0
        self._engine = engine
        self._faults = faults

    async def rule(self, question: Question, policies: PolicySet) -> Ruling:
        """The ruling, as it was or as it would be."""
        fault = self._faults.get(question.id)
        if fault is None:
            return await self._engine.rule(question, policies)
        self.pinned += 1
        return fault


def whole_partition(reader: LogReader, topic: str, partition: int) -> Iterator[Record]:
    """Every record of a partition. Raises ContinuityBroken when one of them is gone."""
    for expected, record in enumerate(reader.read(topic, partition)):
        if record.offset != expected:
            raise ContinuityBroken(
                f"{topic}/{partition} goes on at offset {record.offset}, after {expected} records: others were cut or "
                "removed. Nothing was replayed, because that needs the whole log. Replay a whole log, or an export of "
                "one."
            )
        yield record


class _Problem(Struct):
    problem: str | None = None


class _VerdictData(_Problem, kw_only=True):
    decision_id: str
    reasons: tuple[Reason, ...]
    policy_revision: str


class _ProblemRecord(Struct):
    data: _Problem


class _VerdictRecord(Struct):
    data: _VerdictData


_problem_decoder = msgspec.json.Decoder(_ProblemRecord)
_verdict_decoder = msgspec.json.Decoder(_VerdictRecord)
