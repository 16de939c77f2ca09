"""Controls as they travel: items and sets as records of the control topics, and back, compiled.

The loop asks for the controls of a revision (`ports.controls_source`), a start and an apply publish what a workspace
declares. Says nothing about which revision a partition follows: that stands in `events.v1`.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, TypeVar

import msgspec
from msgspec import Struct

from control_plane.catalogue import ControlItem, Controls, ControlSet
from control_plane.catalogue.controls import TOPIC_OF_KIND
from control_plane.errors import ContinuityBroken, DataDamaged
from control_plane.messages import topics
from control_plane.messages.cancellation import Cancellation
from control_plane.ports.backbone import Output
from control_plane.ports.log_reader import LogReader
from control_plane.workspace.compiling import Tools, compile_controls

PARTITION = 0
"""Control topics have one partition each."""

COMPILED_REVISIONS_MAX = 16
"""Compiled revisions that are kept; one that is asked for again after so many others is compiled again."""


CANCELLATIONS_MAX: Final = 10_000
"""Cancelled commands that are remembered, the newest; each only matters until its command's deadline."""

READING_ORDER: Final = (topics.CONTROL_SETS, *(topic for topic in topics.CONTROLS if topic != topics.CONTROL_SETS))
"""Items are appended before the set that names them: who reads sets first finds all items of every set that it read,
whatever is published meanwhile."""

_STARTED_WITH: Final = b"started_with"
_CANCELLATION: Final = b"cancellation/"


class _ItemBody(Struct, frozen=True):
    kind: str
    name: str
    body: str
    revision: str


class _SetBody(Struct, frozen=True):
    revision: str
    items: tuple[str, ...]


class _StartedWith(Struct, frozen=True):
    revision: str


B = TypeVar("B", _ItemBody, _SetBody, _StartedWith, Cancellation)


class ControlLog:
    """All that the control topics hold. `wanted` is the revision of the newest set, if there is one; `started_with` the
    one that a workspace's folder had when a service was last started on it. `catch_up` reads on, for a revision that is
    asked for before this process has heard of it; `read_to` is how far each topic was read at the start.
    """

    def __init__(self, tools: Tools, catch_up: Callable[[], None] = lambda: None) -> None:
        self.wanted: str | None = None
        self.started_with: str | None = None
        self.cancellations: OrderedDict[str, Cancellation] = OrderedDict()
        self.catch_up = catch_up
        self.read_to: dict[str, int] = {}
        self._wanted_offset = -1
        self._tools = tools
        self._items: dict[str, ControlItem] = {}
        self._sets: dict[str, tuple[str, ...]] = {}
        self._compiled: dict[str, Controls] = {}

    @classmethod
    def from_reader(cls, reader: LogReader, tools: Tools) -> "ControlLog":
        """What the control topics hold now. Raises DataDamaged when a record is not what its key says."""
        found = cls(tools)
        for topic in READING_ORDER:
            if reader.partitions(topic):
                for record in reader.read(topic, PARTITION):
                    found.note(record.topic, record.key, record.value, record.offset)
                    found.read_to[topic] = record.offset + 1
        return found

    def note(self, topic: str, key: bytes, value: bytes, offset: int | None = None) -> None:
        """One more record of a control topic, read or just published. Raises DataDamaged. An empty value is a
        tombstone of compaction and says nothing. Records may come twice and, with their offsets, in any order."""
        if not value:
            return
        if topic != topics.CONTROL_SETS:
            item = decode_item(topic, key, value)
            self._items[item.key] = item
        elif key == _STARTED_WITH:
            self.started_with = _decoded(topic, key, value, _StartedWith).revision
        elif key.startswith(_CANCELLATION):
            self._cancelled(_decoded(topic, key, value, Cancellation))
        else:
            revision, keys = decode_set(key, value)
            self._sets[revision] = keys
            if offset is None or offset > self._wanted_offset:
                self.wanted = revision
                self._wanted_offset = self._wanted_offset if offset is None else offset

    def _cancelled(self, wish: Cancellation) -> None:
        self.cancellations.setdefault(wish.command_id, wish)
        while len(self.cancellations) > CANCELLATIONS_MAX:
            self.cancellations.popitem(last=False)

    @property
    def revisions(self) -> tuple[str, ...]:
        """Every set, in the order in which it was published first."""
        return tuple(self._sets)

    def versions_of(self, kind: str) -> dict[str, list[ControlItem]]:
        """Every version of every item of a kind, by name, in the order in which they were published first."""
        found: dict[str, list[ControlItem]] = {}
        for item in self._items.values():
            if item.kind == kind:
                found.setdefault(item.name, []).append(item)
        return found

    def holds_item(self, item: ControlItem) -> bool:
        """Whether this very version of the item stands on the log."""
        return item.key in self._items

    def control_set(self, revision: str) -> ControlSet:
        """The items of a revision. Raises ContinuityBroken when one of them, or the set, is not there."""
        if revision not in self._sets:
            self.catch_up()
        keys = self._sets.get(revision)
        missing = [f"the set {revision!r}"] if keys is None else [key for key in keys if key not in self._items]
        if keys is None or missing:
            raise ContinuityBroken(
                f"the control topics do not hold {', '.join(missing)}, which a record of {topics.EVENTS} was or is to "
                "be judged under. Nothing was judged. Restore the control topics, or start on an empty data directory."
            )
        found = ControlSet.of(self._items[key] for key in keys)
        if found.revision != revision:
            raise DataDamaged(
                f"the items of the set {revision!r} on {topics.CONTROL_SETS} have the digest {found.revision!r}: the "
                "set was changed after it was published. Nothing was judged. Restore the control topics."
            )
        return found

    def at(self, revision: str) -> Controls:
        """The controls of a revision, compiled once. Raises ContinuityBroken or DataDamaged."""
        compiled = self._compiled.get(revision)
        if compiled is None:
            compiled = self.compiled(self.control_set(revision))
            self.keep(compiled)
        return compiled

    def compiled(self, control_set: ControlSet) -> Controls:
        """A set compiled, published or not; on any thread."""
        return compile_controls(control_set, self._tools)

    def keep(self, compiled: Controls) -> None:
        """Have these controls at hand when their revision is asked for."""
        while len(self._compiled) >= COMPILED_REVISIONS_MAX:
            del self._compiled[next(iter(self._compiled))]
        self._compiled[compiled.revision] = compiled


def outputs_to_publish(control_set: ControlSet, already: ControlLog) -> list[Output]:
    """What has to be appended so that this set is the one that is wanted: items that are new, then the set. Only the
    set's record puts anything in force, so who dies in between has changed nothing."""
    outputs = [encode_item(item) for item in control_set.items if not already.holds_item(item)]
    if outputs or already.wanted != control_set.revision:
        outputs.append(encode_set(control_set))
    return outputs


def encode_item(item: ControlItem) -> Output:
    """An item as a record of the topic of its kind."""
    body = _ItemBody(kind=item.kind, name=item.name, body=item.body, revision=item.revision)
    return Output(TOPIC_OF_KIND[item.kind], item.key.encode(), msgspec.json.encode(body), PARTITION)


def encode_set(control_set: ControlSet) -> Output:
    """A set as a record of `controls.v1`; it names its items and does not repeat them."""
    body = _SetBody(revision=control_set.revision, items=control_set.keys)
    return Output(topics.CONTROL_SETS, control_set.revision.encode(), msgspec.json.encode(body), PARTITION)


def encode_started_with(revision: str) -> Output:
    """What a workspace's folder holds at a start, as a record of `controls.v1`: the next start can then tell a folder
    that was edited from one that an apply has overtaken."""
    return Output(topics.CONTROL_SETS, _STARTED_WITH, msgspec.json.encode(_StartedWith(revision)), PARTITION)


def encode_cancellation(wish: Cancellation) -> Output:
    """A cancellation as a record of `controls.v1`, where executors hear of it ahead of their backlog."""
    return Output(topics.CONTROL_SETS, _CANCELLATION + wish.command_id.encode(), msgspec.json.encode(wish), PARTITION)


def decode_item(topic: str, key: bytes, value: bytes) -> ControlItem:
    """A record of a control topic as an item. Raises DataDamaged when the content is not what its key says."""
    body = _decoded(topic, key, value, _ItemBody)
    item = ControlItem(body.kind, body.name, body.body)
    _check_key(topic, key, item.key)
    return item


def decode_set(key: bytes, value: bytes) -> tuple[str, tuple[str, ...]]:
    """A record of `controls.v1` as a revision and the keys of its items. Raises DataDamaged."""
    body = _decoded(topics.CONTROL_SETS, key, value, _SetBody)
    _check_key(topics.CONTROL_SETS, key, body.revision)
    return body.revision, body.items


def _decoded(topic: str, key: bytes, value: bytes, body_type: type[B]) -> B:
    try:
        return msgspec.json.decode(value, type=body_type)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise _damaged(topic, key, str(exc)) from exc


def _check_key(topic: str, key: bytes, expected: str) -> None:
    if key != expected.encode():
        raise _damaged(topic, key, f"its content is that of {expected!r}")


def _damaged(topic: str, key: bytes, detail: str) -> DataDamaged:
    return DataDamaged(
        f"the record {key.decode(errors='replace')!r} on {topic} is not what was published: {detail}. "
        "Nothing was judged under it. Restore the control topics."
    )
