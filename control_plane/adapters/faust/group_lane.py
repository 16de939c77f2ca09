"""A partition of another consumer group: batches to its reader, then the offset.

A reader that is not ready (TemporaryError) gets the same batch again; anything else it raises stops the process's part.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence

from faust.types import TP

from control_plane.adapters.faust.lane import Gate, Lane, LaneEnded, Standing, gone
from control_plane.adapters.faust.own_rows import packed
from control_plane.errors import ContinuityBroken, TemporaryError
from control_plane.ports.backbone import GroupReader, Record, WentOn

RETRY_FIRST_S = 0.1
RETRY_MAX_S = 5.0

_log = logging.getLogger(__name__)

NoteOffset = Callable[[TP, int, bytes, Callable[[int], None]], None]
"""Says that everything before an offset is safe; it is committed soon, the newest only, with what stands beside it.
Then it is called back."""


class GroupLane(Lane):
    """Runs as one task from assignment to revocation. Commits of offsets are noted, not waited for."""

    def __init__(
        self,
        tp: TP,
        gate: Gate,
        standing: Standing,
        *,
        topic: str,
        dense: bool,
        reader: GroupReader,
        note_offset: NoteOffset,
        word: WentOn,
        failed: Callable[[BaseException], None],
        stopped: Callable[[Lane, ContinuityBroken], None],
    ) -> None:
        """A person's `word` lets it go on at the first record that is kept: whoever reads knows by its id what it has
        read already."""
        first = standing.first if standing.committed is None else standing.committed
        generation = standing.generation
        if word.generation > generation and not standing.first <= first <= standing.end:
            first, generation = standing.first, word.generation
        super().__init__(
            tp, gate, next_offset=first, generation=generation, dense=dense, failed=failed, stopped=stopped
        )
        self._metadata = packed(generation, b"") if generation else b""
        self._standing = standing
        self._topic = topic
        self._reader = reader
        self._note_offset = note_offset
        self._in_hand_max = getattr(reader, "batches_in_hand_max", 1)
        self._in_hand: dict[asyncio.Task[None], int] = {}
        self._error: BaseException | None = None

    async def _take_all(self) -> None:
        if not self._standing.first <= self.first_offset <= self._standing.end and self._dense:
            raise gone(self.tp, self.first_offset, self._standing.first)
        self._gate.open(self.tp)
        try:
            while True:
                while len(self._in_hand) >= self._in_hand_max:
                    await asyncio.wait([next(iter(self._in_hand))])
                    self._note_taken()
                    if self._error is not None:
                        raise self._error
                await self._hand_over(await self.next_batch())
        except LaneEnded:
            # As long as `end` waits for what is in the reader's hands.
            await asyncio.gather(*self._in_hand, return_exceptions=True)
            self._note_taken()
            raise
        finally:
            for taking in self._in_hand:
                taking.cancel()
            await asyncio.gather(*self._in_hand, return_exceptions=True)

    async def _hand_over(self, batch: Sequence[Record]) -> None:
        self.taking = True
        if self._in_hand_max == 1:
            await self._take(batch)
            self._note(batch[-1].offset + 1)
            return
        taking = asyncio.create_task(self._take(batch))
        self._in_hand[taking] = batch[-1].offset + 1
        taking.add_done_callback(self._taken)

    def _taken(self, taking: asyncio.Task[None]) -> None:
        """A batch may be done before one that was handed over earlier; the offset stays behind the earliest."""
        if taking.cancelled():
            return
        error = taking.exception()
        if error is None:
            self._note_taken()
        elif self._error is None:
            self._error = error
            self._failed(error)

    def _note_taken(self) -> None:
        """Note what is done up to the first batch that is not."""
        while self._in_hand and _is_done(first := next(iter(self._in_hand))):
            self._note(self._in_hand.pop(first))

    def _note(self, offset: int) -> None:
        self.noted = offset
        self.taking = bool(self._in_hand)
        self._note_offset(self.tp, offset, self._metadata, self._committed)

    def _committed(self, offset: int) -> None:
        self.committed = max(self.committed, offset)

    async def _take(self, batch: Sequence[Record]) -> None:
        pause_s = RETRY_FIRST_S
        while True:
            try:
                return await self._reader.take(self._topic, self.tp.partition, batch)
            except TemporaryError as error:
                _log.warning(
                    "a reader is not ready, its batch comes again", extra={"topic": self._topic, "why": str(error)}
                )
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, RETRY_MAX_S)


def _is_done(taking: asyncio.Task[None]) -> bool:
    return taking.done() and not taking.cancelled() and taking.exception() is None
