"""One subject, one row, one record: all that the loop knows of a subject.

A row is a value. It changes only by being replaced in a step, and it is stored whole, so it is atomic: what was folded,
the offset up to which it was folded, and the outputs that are not yet acknowledged stand or fall together.
"""

from hashlib import blake2b
from typing import Any, Literal

import msgspec
from msgspec import Struct

from control_plane.causality import Lineage
from control_plane.messages import Expectation
from control_plane.messages.proposed import Origin

ROW_BYTES_MAX = 64 * 1024
"""Largest row. An event that would make it larger is a dead letter, and the row stays as it was."""

SEEN_IDS_MAX = 128
"""Foreign events that a row remembers by id."""

RECENT_ACTIONS_MAX = 32
"""Actions that a row remembers, newest last; frequency limits above this are refused when the catalogue is read."""

_SEEN_BYTES = 8


class LiveCommand(Struct, frozen=True, kw_only=True, array_like=True):
    """A command of ours whose outcome has not come back."""

    command_id: str
    decision_id: str
    agent: str
    intent: str
    action_class: str
    since_ms: int
    deadline_ms: int
    expects: Expectation | None = None


class RecentAction(Struct, frozen=True, kw_only=True, array_like=True):
    """What was done to the subject not long ago. `effect` is empty until it is judged."""

    command_id: str
    agent: str
    intent: str
    action_class: str
    at_ms: int
    outcome: str = ""
    effect: str = ""
    effect_heard: bool = False


class EffectWatch(Struct, frozen=True, kw_only=True, array_like=True):
    """A window that is open: what an action is expected to bring about, and what was seen of it so far.

    `lineage` is that of the outcome that opened the window. `held` and `harmed` are the last sample's answers.
    """

    command_id: str
    decision_id: str
    agent: str
    intent: str
    lineage: Lineage
    expects: Expectation
    closes_ms: int
    samples: int = 0
    held: bool = False
    harmed: bool = False
    disturbed: bool = False


class OpenContext(Struct, frozen=True, kw_only=True, array_like=True):
    """A context that a slow agent was sent. `state` says what became of it: `open` until it is answered, `superseded`
    once the agent was sent a newer one, `answered` for as long as the agent is not to be asked again."""

    context_id: str
    agent: str
    since_ms: int
    action_version: int = 0
    state: Literal["open", "superseded", "answered"] = "open"


class Standing(Struct, frozen=True, array_like=True, gc=False):
    """How a registered subject stands in the fleets that it is a member of; fleets are counted from it.

    `healthy` holds the revisions of fleets whose condition of health it met when it was last judged.
    """

    in_flight: bool
    healthy: tuple[str, ...]


StandingAt = tuple[int, Standing | None]
"""From which record on a subject stands like this; None when it is not registered."""


class Row(Struct, frozen=True, kw_only=True, array_like=True):
    """What is known of one subject. Times are log time, milliseconds since the epoch.

    `parts` and `folded_ms` belong to the projections, by part name; `own` to the agents, by agent name. `applied` is
    the last offset that was folded, `now_ms` the greatest append time seen. `action_version` rises with each command,
    outcome and human act, never with telemetry. `seen` holds the digests of the last foreign events, 8 bytes each.
    `registered` and `healthy` are what fleets are counted from, `timers` says when an agent wants to be woken by a
    tick. `origins` holds the newest proposal that came from each partition.
    """

    subject: str
    applied: int = -1
    now_ms: int = 0
    action_version: int = 0
    parts: dict[str, Any] = {}
    folded_ms: dict[str, int] = {}
    own: dict[str, Any] = {}
    seen: bytes = b""
    live: tuple[LiveCommand, ...] = ()
    recent: tuple[RecentAction, ...] = ()
    watches: tuple[EffectWatch, ...] = ()
    asked: tuple[OpenContext, ...] = ()
    registered: bool = False
    healthy: tuple[str, ...] = ()
    timers: dict[str, int] = {}
    origins: dict[int, Origin] = {}

    @property
    def standing(self) -> Standing | None:
        """How the subject stands in its fleets; None while it is not registered."""
        return Standing(bool(self.live), self.healthy) if self.registered else None

    def due_ms(self) -> int | None:
        """When the row next wants a tick; None when nothing waits for time."""
        if not self.watches:
            return min(self.timers.values()) if self.timers else None
        return min([*[watch.closes_ms for watch in self.watches], *self.timers.values()])

    def seen_with(self, source: str, message_id: str) -> bytes | None:
        """What `seen` becomes with one more foreign event; None when the row has folded it, as far as it remembers."""
        wanted = blake2b(f"{source}\x1f{message_id}".encode(), digest_size=_SEEN_BYTES).digest()
        found = self.seen.find(wanted)
        while found >= 0 and found % _SEEN_BYTES:
            found = self.seen.find(wanted, found + 1)
        return None if found >= 0 else (self.seen + wanted)[-SEEN_IDS_MAX * _SEEN_BYTES :]


class HeldOutput(Struct, frozen=True, array_like=True, gc=False):
    """An output that is not yet acknowledged, with the offset of the input that it follows from."""

    input_offset: int
    topic: str
    key: bytes
    value: bytes
    partition: int | None = None


class StoredRow(Struct, frozen=True, array_like=True, gc=False):
    """A row as it is stored: what recovery needs to know of it comes first, so that it can be read alone.

    `epoch` is the owner's who wrote it, `generation` the log's whose offsets are in it: another log's say nothing.
    `standings` are how the subject stands in its fleets and how it stood as long as records may come again, the last
    one last; empty when it is not registered.
    """

    due_ms: int | None
    applied: int
    epoch: int
    generation: int
    held: tuple[HeldOutput, ...]
    standings: tuple[StandingAt, ...]
    row: bytes


class StoredHead(Struct, frozen=True, array_like=True, gc=False):
    """The beginning of a StoredRow, for recovering timers, held outputs and fleets without decoding the row."""

    due_ms: int | None
    applied: int
    epoch: int
    generation: int
    held: tuple[HeldOutput, ...]
    standings: tuple[StandingAt, ...]


class StoredPartitionRow(StoredRow, frozen=True, array_like=True, gc=False):
    """A partition's own row as it is stored, with the states it had before the batches that may come again, oldest
    first."""

    earlier: tuple[bytes, ...]


_encoder = msgspec.msgpack.Encoder()
_row_decoder = msgspec.msgpack.Decoder(Row)
_stored_decoder = msgspec.msgpack.Decoder(StoredRow)
_head_decoder = msgspec.msgpack.Decoder(StoredHead)
_partition_row_decoder = msgspec.msgpack.Decoder(StoredPartitionRow)


def encode_row(row: Row) -> bytes:
    """A row as bytes: the same row always gives the same ones."""
    return _encoder.encode(row)


def encode_stored(stored: StoredRow) -> bytes:
    """A stored row as bytes."""
    return _encoder.encode(stored)


def decode_row(raw: bytes) -> Row:
    """Bytes of `encode_row` as a row."""
    return _row_decoder.decode(raw)


def decode_stored(raw: bytes) -> StoredRow:
    """Bytes of `encode_stored` as a stored row."""
    return _stored_decoder.decode(raw)


def decode_head(raw: bytes) -> StoredHead:
    """The head of a stored row."""
    return _head_decoder.decode(raw)


def encode_partition_row(row: Row, earlier: tuple[bytes, ...], epoch: int, generation: int) -> bytes:
    """A partition's own row as it is stored, with its earlier states."""
    return _encoder.encode(StoredPartitionRow(None, row.applied, epoch, generation, (), (), encode_row(row), earlier))


def decode_partition_row(raw: bytes) -> tuple[bytes, ...]:
    """Every state that is stored of a partition's own row, the newest last."""
    stored = _partition_row_decoder.decode(raw)
    return (*stored.earlier, stored.row)
