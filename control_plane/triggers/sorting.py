"""What came in, sorted: events for the loop, and a dead letter with place and reason for each thing that is none.

Nothing is lost: what cannot be mapped is kept. Says nothing to whoever sent it.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from control_plane.causality import Lineage, digest
from control_plane.causality.lineage import SOURCE
from control_plane.errors import InvalidMessage
from control_plane.messages import DeadLetter, Event, topics
from control_plane.messages.dead_letter import RECORD_BYTES_MAX, Brought
from control_plane.messages.wire import encode
from control_plane.ports.backbone import Output
from control_plane.triggers.formats import Format
from control_plane.triggers.mapping import EventMapping
from control_plane.triggers.tools import Declared, TriggerTools

BATCH_EVENTS_MAX = 64
"""Events that are published before their position is kept. After a crash they are published again; a row knows its
last 128 foreign events, so half of these leaves room for what others say about the same subject meanwhile."""

BESIDE_BYTES_MAX = 64 * 1024
"""What is kept in a dead letter of all that could be read beside the thing itself, as JSON."""

_encoder = msgspec.json.Encoder()


class Place(Struct, frozen=True, kw_only=True):
    """Where something stood: in words, and by what it is known when it comes again. Offsets are the source's own."""

    words: str
    identity: str
    partition: int = 0
    offset: int = 0


class Arrived(Struct, frozen=True, kw_only=True):
    """One thing that came in. `value` is what its bytes hold; `beside` is what can be read besides it; `places` names
    variables as the sender would."""

    raw: bytes
    value: Any
    place: Place
    beside: Mapping[str, Any] = {}
    places: Mapping[str, str] = {}


class Refused(Struct, frozen=True, kw_only=True):
    """One thing that became a dead letter, and why."""

    place: Place
    reason: InvalidMessage


class Sorted:
    """What a batch came to. `outputs` are to be appended, in this order; `passed_by` counts what nobody asked for."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.refused: list[Refused] = []
        self.passed_by = 0
        self.outputs: list[Output] = []


class Sorter:
    """Sorts for one trigger."""

    def __init__(self, declared: Declared, form: Format, mapping: EventMapping, tools: TriggerTools) -> None:
        self._declared = declared
        self._format = form
        self._mapping = mapping
        self._tools = tools

    @property
    def needs_value(self) -> bool:
        """Whether what comes in must be taken apart at all."""
        return not self._mapping.passes_as_sent

    def sort(self, arrived: Arrived, into: Sorted) -> None:
        """Put one thing where it belongs."""
        try:
            raw = self._mapped(arrived)
            event = None if raw is None else self._tools.admit(raw)
        except InvalidMessage as reason:
            self.refuse(arrived.raw, arrived.place, reason, into, _brought(arrived))
            return
        if raw is None or event is None:
            into.passed_by += 1
            return
        into.events.append(event)
        into.outputs.append(Output(topics.EVENTS, event.subject.encode(), raw))

    def refuse(
        self, raw: bytes, place: Place, reason: InvalidMessage, into: Sorted, brought: Brought | None = None
    ) -> None:
        """Keep something that is no event as a dead letter. `brought` is what it needs to be mapped once more."""
        letter = DeadLetter(
            lineage=Lineage.root(SOURCE, digest("dead_letter", self._declared.source, place.identity)),
            subject=self._declared.source,
            occurred_ms=self._tools.clock.now_ms(),
            topic=self._declared.source,
            partition=place.partition,
            offset=place.offset,
            code=reason.code,
            detail=f"{place.words}: {reason.detail}",
            field=reason.field,
            cure=reason.cure,
            agent=None,
            record=raw[:RECORD_BYTES_MAX],
            record_bytes=len(raw),
            brought=brought,
        )
        into.refused.append(Refused(place=place, reason=reason))
        into.outputs.append(Output(topics.DEAD_LETTERS, letter.subject.encode(), encode(letter)))

    async def bring_in(self, into: Sorted) -> None:
        """Make all of it durable, and count it. Raises BackboneUnavailable, StorageFull."""
        if into.outputs:
            await self._tools.append(into.outputs)
        counts = {"event": len(into.events), "dead_letter": len(into.refused), "passed_by": into.passed_by}
        for became, many in counts.items():
            if many:
                self._tools.count(self._declared.name, became, many)

    def _mapped(self, arrived: Arrived) -> bytes | None:
        return mapped(self._format, self._mapping, arrived)


def mapped(form: Format, mapping: EventMapping, arrived: Arrived) -> bytes | None:
    """What a definition makes of one thing: an event's bytes; None when its `when` leaves it out. Raises
    InvalidMessage."""
    if mapping.passes_as_sent:
        return arrived.raw
    try:
        of_item = form.item(arrived.value)
    except InvalidMessage as broken:
        prefix = arrived.places.get("item", "item")
        broken.field = ".".join(step for step in (prefix, broken.field) if step) or None
        raise
    return mapping.event(
        {**of_item, **arrived.beside}, default_id=arrived.place.identity, as_sent=arrived.raw, places=arrived.places
    )


def _brought(arrived: Arrived) -> Brought:
    """What is kept of a thing beside its bytes. What is the thing itself is not kept twice."""
    as_value = tuple(name for name, value in arrived.beside.items() if value is arrived.value)
    beside = {name: value for name, value in arrived.beside.items() if name not in as_value}
    fits = len(_encoder.encode(beside)) <= BESIDE_BYTES_MAX
    return Brought(identity=arrived.place.identity, beside=beside if fits else None, as_value=as_value)
