"""Which dead letters there are and which of them are open: a fold of `dead_letters.v1` as the audit store holds it.

Every process folds the same records, so every one gives the same answer. Holds what letters are chosen by, not the
letters.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Final, Literal

import msgspec
from msgspec import Struct
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from control_plane.causality.lineage import SOURCE
from control_plane.messages import topics
from control_plane.messages.resolution import How
from control_plane.messages.wire import ms_of
from control_plane.ports.audit import Audit, Kept, Page

LETTERS_MAX: Final = 100_000
"""Letters that are remembered, the newest; older ones can still be shown, redriven and discarded by their id."""

PAGE_LETTERS: Final = 100
"""Letters that are read at a time: each may hold a record of a quarter of a megabyte."""

State = Literal["open", "redriven", "discarded"]


class Resolved(Struct, frozen=True, kw_only=True):
    """What was done about a letter, by whom and when. `to_*` is where the record went."""

    how: How
    by: str
    because: str
    at_ms: int
    to_topic: str | None = None
    to_partition: int | None = None
    to_offset: int | None = None


class Entry(Struct, kw_only=True):
    """What a letter is chosen by. `again` is the letter that its record became when it was given back."""

    sequence: int
    id: str
    code: str
    topic: str
    subject: str
    agent: str | None
    occurred_ms: int
    resolved: Resolved | None = None
    again: str | None = None

    @property
    def state(self) -> State:
        """Whether anything was done about it."""
        return "open" if self.resolved is None else self.resolved.how


class Wanted(Struct, frozen=True, kw_only=True):
    """Which letters; filters that are None do not filter."""

    state: State | None = None
    code: str | None = None
    topic: str | None = None
    subject: str | None = None
    agent: str | None = None
    since_ms: int | None = None

    @property
    def names_some(self) -> bool:
        """Whether it leaves anything out beside what is resolved: nobody means everything by saying nothing."""
        return any(x is not None for x in (self.code, self.topic, self.subject, self.agent, self.since_ms))

    def takes(self, entry: Entry) -> bool:
        """Whether a letter is one of these."""
        wanted = (self.state, self.code, self.topic, self.subject, self.agent)
        found = (entry.state, entry.code, entry.topic, entry.subject, entry.agent)
        if self.since_ms is not None and entry.occurred_ms < self.since_ms:
            return False
        return all(want is None or want == has for want, has in zip(wanted, found, strict=True))


class _Data(Struct):
    topic: str = ""
    code: str = ""
    agent: str | None = None
    letter_id: str = ""
    how: How | None = None
    by: str = ""
    because: str = ""
    to_topic: str | None = None
    to_partition: int | None = None
    to_offset: int | None = None


class _Said(Struct):
    time: datetime
    data: _Data


_decoder: Final = msgspec.json.Decoder(_Said)


class LetterBook:
    """The letters of one service. Call `refresh` before looking."""

    def __init__(self, audit: Audit, unreadable: Callable[[Kept, str], None], metrics: CollectorRegistry) -> None:
        """`unreadable` is told of records of the topic that are neither letter nor resolution, and why."""
        metrics.register(_OpenLetters(self.open_by_code))
        self._audit = audit
        self._unreadable = unreadable
        self._entries: dict[str, Entry] = {}
        self._after = 0
        self._reading = asyncio.Lock()

    async def refresh(self) -> None:
        """Read on to the end. Raises AuditUnavailable."""
        async with self._reading:
            while True:
                page = Page(topic=topics.DEAD_LETTERS, after=self._after, limit=PAGE_LETTERS)
                found = await self._audit.query(page)
                for kept in found:
                    self._fold(kept)
                    self._after = kept.sequence
                if len(found) < PAGE_LETTERS:
                    return

    def get(self, letter_id: str) -> Entry | None:
        """What is known of a letter."""
        return self._entries.get(letter_id)

    def find(self, wanted: Wanted, *, after: int = 0, newest_first: bool = True) -> Iterator[Entry]:
        """The letters that are wanted, in the order of the audit store, after the one with this sequence."""
        for entry in list(reversed(self._entries.values()) if newest_first else self._entries.values()):
            is_further = entry.sequence < after or not after if newest_first else entry.sequence > after
            if is_further and wanted.takes(entry):
                yield entry

    def resolve(self, letter_id: str, resolved: Resolved) -> None:
        """Take note of a resolution. One that gave the record back outweighs one that left it, whichever came first:
        the record is on the log."""
        entry = self._entries.get(letter_id)
        if entry is not None and (entry.resolved is None or entry.resolved.how == "discarded"):
            entry.resolved = resolved

    def open_by_code(self) -> Mapping[str, int]:
        """How many letters are open, by the code of their reason."""
        counts: dict[str, int] = {}
        for entry in self._entries.values():
            # A reason of which none is left is 0 and not absent: an alert on it must end.
            counts[entry.code] = counts.get(entry.code, 0) + (entry.resolved is None)
        return counts

    def _fold(self, kept: Kept) -> None:
        try:
            said = _decoder.decode(kept.message.body)
        except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
            self._unreadable(kept, str(exc))
            return
        data = said.data
        if kept.message.source == SOURCE and data.how is not None:
            self.resolve(data.letter_id, _resolved(data, ms_of(said.time)))
        elif kept.message.source == SOURCE and data.code:
            self._add(kept, data)
        else:
            self._unreadable(kept, "neither a dead letter nor a resolution of one")

    def _add(self, kept: Kept, data: _Data) -> None:
        message = kept.message
        self._entries[message.message_id] = Entry(
            sequence=kept.sequence,
            id=message.message_id,
            code=data.code,
            topic=data.topic,
            subject=message.subject,
            agent=data.agent,
            occurred_ms=message.occurred_ms,
        )
        before = self._entries.get(message.causation_id or "")
        if before is not None:
            before.again = message.message_id
        if len(self._entries) > LETTERS_MAX:
            del self._entries[next(iter(self._entries))]


class _OpenLetters(Collector):
    """How many letters are open, as of the last look."""

    def __init__(self, counts: Callable[[], Mapping[str, int]]) -> None:
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        """Called for every scrape."""
        found = GaugeMetricFamily(
            "setpoint_dead_letters_open", "Dead letters that nobody has resolved.", labels=["code"]
        )
        for code, many in self._counts().items():
            found.add_metric([code], many)
        yield found


def _resolved(data: _Data, at_ms: int) -> Resolved:
    assert data.how is not None, "only a resolution says how"
    return Resolved(
        how=data.how,
        by=data.by,
        because=data.because,
        at_ms=at_ms,
        to_topic=data.to_topic,
        to_partition=data.to_partition,
        to_offset=data.to_offset,
    )
