"""One thing that the loop said: a record of the log, or what a replay puts out."""

from datetime import UTC, datetime
from hashlib import blake2b

import msgspec
from msgspec import Struct

from control_plane.causality.lineage import SOURCE
from control_plane.messages import topics
from control_plane.messages.event import DECISION_PROPOSED, EFFECT_JUDGED

SAID_IN: tuple[str, ...] = (
    topics.CONTEXTS,
    topics.DECISIONS,
    topics.VERDICTS,
    topics.COMMANDS,
    topics.EFFECTS,
    topics.EVENTS,
    topics.DEAD_LETTERS,
)
"""Where the loop speaks, in the order in which it does so on one record. Of `events.v1` only its own effects and
proposals count."""

_LONG_AGO = datetime.fromtimestamp(0, UTC)


_BEGINS_ORIGIN = b'"origin":['
"""Only what the loop itself proposes to another subject has one."""

Order = tuple[datetime, int, int, str]


class _Read(Struct):
    """What is looked at of any message: of `data`, where a dead letter's record stood."""

    id: str
    source: str
    type: str
    time: datetime = _LONG_AGO
    data: "_Data | None" = None


class _Data(Struct):
    topic: object = None
    origin: object = None


_decoder = msgspec.json.Decoder(_Read)


class Said(Struct, frozen=True):
    """A message's identity and a digest of its bytes. `time` is log time, the same clock for all that is said.

    Not `ours` are dead letters of others, such as executors: a replay need not say them.
    """

    topic: str
    partition: int
    message_id: str
    time: datetime
    digest: bytes
    ours: bool = True

    @property
    def key(self) -> tuple[str, str]:
        """Topic and id: what may be there in copies, but only in equal ones."""
        return self.topic, self.message_id

    @property
    def order(self) -> "Order":
        """Where it comes among all that was said."""
        return self.time, self.partition, SAID_IN.index(self.topic), self.message_id

    def equals(self, other: "Said") -> bool:
        """Whether both are the same bytes in the same partition."""
        return self.digest == other.digest and self.partition == other.partition


class _Answer(Struct, frozen=True):
    context_id: str = ""


class _AnswerRecord(Struct, frozen=True):
    type: str = ""
    data: _Answer = _Answer()


_answer_decoder = msgspec.json.Decoder(_AnswerRecord)


def is_answer(value: bytes) -> bool:
    """Whether a record of `events.v1` is a slow agent's answer."""
    if DECISION_PROPOSED.encode() not in value:
        return False
    try:
        found = _answer_decoder.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return False  # Anybody may have written anything there.
    return found.type == DECISION_PROPOSED and bool(found.data.context_id)


def said_in(topic: str, partition: int, value: bytes) -> Said | None:
    """A record or an output as something the loop said; None for what others put into `events.v1`. Raises MsgspecError
    when it cannot be read."""
    if topic == topics.EVENTS and EFFECT_JUDGED.encode() not in value and _BEGINS_ORIGIN not in value:
        return None
    found = _decoder.decode(value)
    if topic == topics.EVENTS and not _comes_back(found):
        return None
    ours = topic != topics.DEAD_LETTERS or (found.data is not None and found.data.topic == topics.EVENTS)
    return Said(topic, partition, found.id, found.time, blake2b(value, digest_size=16).digest(), ours)


def _comes_back(found: _Read) -> bool:
    """Whether the loop said it to itself: an effect, or a proposal to another subject."""
    if found.source != SOURCE or found.type not in (EFFECT_JUDGED, DECISION_PROPOSED):
        return False
    return found.type == EFFECT_JUDGED or (found.data is not None and found.data.origin is not None)
