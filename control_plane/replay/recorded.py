"""What the loop said when it was live, as the log holds it, by topic and id; and the answers from outside in it that
cannot be had again."""

from collections.abc import Iterator

import msgspec
from msgspec import Struct

from control_plane.errors import ContinuityBroken
from control_plane.loop.deliberation import OVERRAN
from control_plane.messages import Reason, Ruling, topics
from control_plane.ports.backbone import Position, Record
from control_plane.ports.log_reader import LogReader
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
    """The index of a whole log. Holds digests, not messages; and what cannot be worked out again.

    `faults` are rulings by decision id; `overruns` what is said of agents that took too long, by the event's partition
    and offset and the agent's name.
    """

    def __init__(self) -> None:
        self.messages: dict[tuple[str, str], Recorded] = {}
        self.unreadable: list[Record] = []
        self.faults: dict[str, Ruling] = {}
        self.overruns: dict[tuple[int, int], dict[str, str]] = {}

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
            if record.topic == topics.DEAD_LETTERS and said.ours:
                self._note_overrun(record)
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

    def _note_overrun(self, record: Record) -> None:
        letter = _letter_decoder.decode(record.value).data
        if letter.code == OVERRAN and letter.agent is not None:
            self.overruns.setdefault((letter.partition, letter.offset), {})[letter.agent] = letter.detail


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


class _LetterData(Struct):
    partition: int
    offset: int
    code: str
    detail: str
    agent: str | None


class _LetterRecord(Struct):
    data: _LetterData


_letter_decoder = msgspec.json.Decoder(_LetterRecord)
_problem_decoder = msgspec.json.Decoder(_ProblemRecord)
_verdict_decoder = msgspec.json.Decoder(_VerdictRecord)
