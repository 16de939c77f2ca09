"""Dead letters given back to the loop, or left at that; once each, whoever asks and however often.

The record goes first, its resolution after it is durable. Whoever dies in between leaves an open letter, and whoever
redrives it then sends the same event again, which its row knows.
"""

import asyncio
from collections.abc import Sequence
from itertools import islice
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from control_plane.api import gathering, reading
from control_plane.api.letter_book import Entry, LetterBook, Resolved, Wanted
from control_plane.api.ports import ApiPorts
from control_plane.api.problems import ProblemError
from control_plane.catalogue import Controls
from control_plane.errors import InvalidMessage
from control_plane.messages import DeadLetter, Resolution, topics
from control_plane.messages.resolution import How
from control_plane.messages.wire import decode, encode, type_of
from control_plane.ports.audit import Kept
from control_plane.ports.backbone import Output, Position
from control_plane.redriving import redriven

LETTER_TYPE: Final = type_of(DeadLetter)

LETTERS_AT_ONCE_MAX: Final = 500
"""Letters of one request; what is left is for the next."""

APPEND_BYTES_MAX: Final = 2 * 1024 * 1024
"""Records that go back in one append, so that a thousand large ones are not in memory together."""


class Refused(Struct, frozen=True, kw_only=True):
    """A letter that stays as it is, and why."""

    id: str
    reason: InvalidMessage


class Swept(Struct, kw_only=True):
    """What became of many: ids that were resolved, or would be; those that stay; and where the next request begins."""

    done: list[str]
    refused: list[Refused]
    next_after: int | None = None


class _Ready(Struct, frozen=True, kw_only=True):
    """A letter on its way: where it stands, and for one that is redriven what goes back."""

    kept: Kept
    letter: DeadLetter
    output: Output | None


class LetterDesk:
    """What people do about dead letters, one request at a time."""

    def __init__(self, ports: ApiPorts, book: LetterBook) -> None:
        self._ports = ports
        self._book = book
        self._turn = asyncio.Lock()

    async def find(self, letter_id: str) -> tuple[Kept, DeadLetter]:
        """One letter. Raises ProblemError when there is none."""
        kept = await gathering.find(self._ports.audit, letter_id, topics.DEAD_LETTERS)
        if kept is None or kept.message.type != LETTER_TYPE:
            raise ProblemError.not_found("dead_letter", letter_id, "/v1/dead-letters")
        return kept, reading.readable(kept, lambda found: decode(found.message.body, DeadLetter))

    async def resolve(self, letter_id: str, how: How, because: str) -> Resolved:
        """Redrive or discard one letter; what was done already is not done again. Raises ProblemError."""
        async with self._turn:
            await self._book.refresh()
            kept, letter = await self.find(letter_id)
            before = await self.resolution_of(letter)
            if before is not None and before.how in (how, "redriven"):
                if before.how == how:
                    return before
                raise _gone_back(letter)
            try:
                ready = self._ready(kept, letter, how)
            except InvalidMessage as refused:
                raise _stays(refused) from refused
            (resolved,) = await self._carry_out([ready], how, because)
            return resolved

    async def sweep(self, wanted: Wanted, how: How, because: str, *, after: int, limit: int, dry_run: bool) -> Swept:
        """Redrive or discard open letters, the oldest first, so that each subject's events keep their order."""
        async with self._turn:
            await self._book.refresh()
            swept = Swept(done=[], refused=[])
            waiting: list[_Ready] = []
            for entry in self._chosen(wanted, after, limit, swept):
                ready = await self._looked_at(entry, how, swept)
                if ready is None or dry_run:
                    continue
                waiting.append(ready)
                if _bytes_of(waiting) > APPEND_BYTES_MAX:
                    await self._carry_out(waiting, how, because)
                    waiting = []
            if waiting:
                await self._carry_out(waiting, how, because)
            return swept

    def objection(self, letter: DeadLetter) -> InvalidMessage | None:
        """Why a letter cannot go back as things are now; None when it can."""
        try:
            self._record_of(letter)
        except InvalidMessage as refused:
            return refused
        return None

    def _chosen(self, wanted: Wanted, after: int, limit: int, swept: Swept) -> list[Entry]:
        found = self._book.find(replace(wanted, state="open"), after=after, newest_first=False)
        chosen = list(islice(found, limit + 1))
        if len(chosen) > limit:
            chosen.pop()
            swept.next_after = chosen[-1].sequence
        return chosen

    async def _looked_at(self, entry: Entry, how: How, swept: Swept) -> _Ready | None:
        kept = await gathering.find(self._ports.audit, entry.id, topics.DEAD_LETTERS)
        assert kept is not None, "the book knows only what is recorded"
        try:
            ready = self._ready(kept, decode(kept.message.body, DeadLetter), how)
        except InvalidMessage as refused:
            swept.refused.append(Refused(id=entry.id, reason=refused))
            return None
        swept.done.append(entry.id)
        return ready

    def _ready(self, kept: Kept, letter: DeadLetter, how: How) -> _Ready:
        return _Ready(kept=kept, letter=letter, output=self._record_of(letter) if how == "redriven" else None)

    def _record_of(self, letter: DeadLetter) -> Output:
        return redriven(letter, self._ports.now_ms(), self._controls(), self._ports.map_again)

    def _controls(self) -> Controls:
        controls = self._ports.controls()
        if controls is None:
            raise InvalidMessage(
                "no_controls", "no workspace is in force yet, so nothing can be judged", cure="Try again in a moment."
            )
        return controls

    async def _carry_out(self, waiting: Sequence[_Ready], how: How, because: str) -> list[Resolved]:
        """Append the records, and once they are durable what became of their letters."""
        records = [ready.output for ready in waiting if ready.output is not None]
        places: Sequence[Position | None] = await self._ports.append(records) if records else [None] * len(waiting)
        resolutions = [
            self._resolution(ready.letter, how, because, place) for ready, place in zip(waiting, places, strict=True)
        ]
        await self._ports.append(
            [
                Output(
                    topics.DEAD_LETTERS,
                    resolution.subject.encode(),
                    encode(resolution),
                    # Beside its letter: one partition has one order, and every process sees the same.
                    ready.kept.message.partition,
                )
                for ready, resolution in zip(waiting, resolutions, strict=True)
            ]
        )
        resolved = [as_resolved(resolution) for resolution in resolutions]
        for resolution, found in zip(resolutions, resolved, strict=True):
            self._book.resolve(resolution.letter_id, found)
        return resolved

    def _resolution(self, letter: DeadLetter, how: How, because: str, place: Position | None) -> Resolution:
        return Resolution(
            # Derived from the letter: whoever repeats it says nothing new.
            lineage=letter.lineage.child(f"resolution/{how}"),
            subject=letter.subject,
            occurred_ms=self._ports.now_ms(),
            letter_id=letter.lineage.message_id,
            how=how,
            by=self._ports.key.person,
            because=because,
            to_topic=place.topic if place is not None else None,
            to_partition=place.partition if place is not None else None,
            to_offset=place.offset if place is not None else None,
        )

    async def resolution_of(self, letter: DeadLetter) -> Resolved | None:
        """What was done about a letter, be it too old for the book."""
        entry = self._book.get(letter.lineage.message_id)
        if entry is not None:
            return entry.resolved
        for how in ("redriven", "discarded"):
            said_id = letter.lineage.child(f"resolution/{how}").message_id
            found = await gathering.find(self._ports.audit, said_id, topics.DEAD_LETTERS)
            if found is not None:
                return as_resolved(decode(found.message.body, Resolution))
        return None


def as_resolved(said: Resolution) -> Resolved:
    """A resolution as the book has it."""
    return Resolved(
        how=said.how,
        by=said.by,
        because=said.because,
        at_ms=said.occurred_ms,
        to_topic=said.to_topic,
        to_partition=said.to_partition,
        to_offset=said.to_offset,
    )


def _bytes_of(waiting: Sequence[_Ready]) -> int:
    return sum(len(ready.output.value) for ready in waiting if ready.output is not None)


def _stays(refused: InvalidMessage) -> ProblemError:
    detail = f"{refused.detail}; nothing was redriven, and the letter stays open"
    return ProblemError(409, refused.code, detail, refused.cure, field=refused.field)


def _gone_back(letter: DeadLetter) -> ProblemError:
    return ProblemError(
        409,
        "redriven_already",
        f"the record of letter {letter.lineage.message_id} has gone back to the loop; nothing was discarded",
        "Look at what came of it with: GET /v1/dead-letters/{id}",
    )
