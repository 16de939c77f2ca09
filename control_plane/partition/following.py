"""What follows from one record on one subject: the row after it, and all that is said, as it goes to the log.

Takes no decision: `control_plane.partition` says which records are stepped and which are buried.
"""

from msgspec import Struct
from msgspec.structs import replace

from control_plane.errors import InvalidMessage
from control_plane.loop.step import Done
from control_plane.messages import Command, Context, DeadLetter, Decision, Effect, Proposed, Verdict, topics
from control_plane.messages.wire import encode, encode_context
from control_plane.partition.rows import HELD_BYTES_MAX
from control_plane.ports.backbone import Record
from state.rows import ROW_BYTES_MAX, HeldOutput, Row, encode_row

_TOPICS: dict[type, tuple[str, ...]] = {
    Decision: (topics.DECISIONS,),
    Verdict: (topics.VERDICTS,),
    Command: (topics.COMMANDS,),
    # An effect comes back into the loop as well, so that agents can learn from it.
    Effect: (topics.EFFECTS, topics.EVENTS),
    Context: (topics.CONTEXTS,),
}


class Following(Struct, frozen=True):
    """What one record makes of a row: the row, and all that is said."""

    row: Row
    encoded: bytes
    outputs: list[HeldOutput]
    letters: list[DeadLetter]


def following(partition: int, record: Record, before: Row, done: Done) -> Following:
    """What a step comes to, or that its row has become too large."""
    encoded = encode_row(done.row)
    if len(encoded) > ROW_BYTES_MAX:
        return unfolded(partition, record, before, _too_large())
    outputs = _held_outputs(partition, record, done) if done.said else []
    if not done.failures:
        return Following(done.row, encoded, outputs, [])
    letters = [letter_of(record, failure.reason, done.row.subject, failure.agent) for failure in done.failures]
    outputs += [buried(partition, record, letter) for letter in letters]
    return Following(done.row, encoded, outputs, letters)


def unfolded(partition: int, record: Record, before: Row, reason: InvalidMessage) -> Following:
    """The row as it was, past a record that must not be folded."""
    row = replace(before, applied=record.offset)
    letter = letter_of(record, reason, row.subject)
    return Following(row, encode_row(row), [buried(partition, record, letter)], [letter])


def _too_large() -> InvalidMessage:
    # By how much is not said: it depends on rulings that are dropped with the step, and a replay could not tell.
    return InvalidMessage(
        "row_too_large",
        f"the subject's row would grow beyond {ROW_BYTES_MAX} bytes",
        cure="Keep less of the event in rows/*.yaml, or send smaller values.",
    )


def says_too_much() -> InvalidMessage:
    """Why a step that a row could not hold until it is acknowledged is not taken."""
    return InvalidMessage(
        "says_too_much",
        f"all that agents proposed on the event, and what policy was asked, takes more than {HELD_BYTES_MAX} bytes",
        cure="Let fewer agents listen to this type, or send smaller events.",
    )


def letter_of(record: Record, reason: InvalidMessage, subject: str, agent: str | None = None) -> DeadLetter:
    """A record that must not be folded, or that an agent failed on, with where it stands and why."""
    return DeadLetter.of(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        recorded_ms=record.recorded_ms,
        record=record.value,
        reason=reason,
        subject=subject,
        agent=agent,
    )


def buried(partition: int, record: Record, letter: DeadLetter) -> HeldOutput:
    """A dead letter on its way."""
    return HeldOutput(record.offset, topics.DEAD_LETTERS, letter.subject.encode(), encode(letter), partition)


def _held_outputs(partition: int, record: Record, done: Done) -> list[HeldOutput]:
    """All in the partition and under the subject that the record is about, but for what is said to another subject."""
    key = done.row.subject.encode()
    outputs = []
    for message in done.said:
        value = encode_context(message) if isinstance(message, Context) else encode(message)
        if isinstance(message, Proposed):
            outputs.append(HeldOutput(record.offset, topics.EVENTS, message.subject.encode(), value))
            continue
        outputs += [HeldOutput(record.offset, topic, key, value, partition) for topic in _TOPICS[type(message)]]
    return outputs
