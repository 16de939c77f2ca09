"""The rows of one partition while batches are in flight: what is stored, what is newer, and what waits for time.

A row that was touched carries every output of its subject that is not yet acknowledged, until it is.
"""

import heapq
from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from control_plane.errors import ContinuityBroken, OwnerFenced
from control_plane.messages import topics
from control_plane.messages.owner_event import own_subject
from control_plane.partition.fleets import FleetSums
from control_plane.partition.told import Told
from control_plane.ports.backbone import COMMIT_BYTES_MAX, Record, RowReader, RowWrite, Start
from state.rows import HeldOutput, Row, StoredHead, StoredRow, decode_head, decode_row, decode_stored, encode_stored

REMEMBERED_BYTES_MAX = 8 * 1024 * 1024
"""Rows of a partition that are kept at hand after they were stored, the last ones used; counted as they are stored."""

HELD_BYTES_MAX = 8 * 1024 * 1024
"""Outputs that a row holds until they are acknowledged. What would make it more waits until they are; a single step
that says more is a dead letter. A row with all of it fits into one record of any log."""

TIMERS_MIN = 1_000
"""Timers that are kept before those that nobody waits for any more are looked for."""

_OUTPUT_BYTES = 64
"""What a held output takes beside its key and value: its topic, its offset, and where one ends and the next begins."""


class Touched:
    """A row that a batch works on, with the outputs it holds. `stored_bytes` is its share of the commit so far."""

    __slots__ = ("changed", "encoded", "held", "held_bytes", "row", "stored_bytes")

    def __init__(self, row: Row, held: tuple[HeldOutput, ...]) -> None:
        self.row = row
        self.held = held
        self.held_bytes = output_bytes(held)
        self.encoded = b""
        self.stored_bytes = 0
        self.changed = False


class Batch:
    """What a batch has come to so far. `end` is the offset after the last record that is taken whole; `repeated` are
    the last records of which subjects' held outputs go out again."""

    def __init__(self, end: int) -> None:
        self.touched: dict[str, Touched] = {}
        self.outputs: list[HeldOutput] = []
        self.repeated: dict[str, int] = {}
        self.end = end
        self._bytes = 0

    def fits(self, touched: Touched, row_bytes: int, said_bytes: int, offset: int) -> bool:
        """Whether a row with what it says still has room; where not, the batch ends before this record."""
        stored_bytes = row_bytes + touched.held_bytes + said_bytes
        if touched.held and touched.held_bytes + said_bytes > HELD_BYTES_MAX:
            self.end = min(self.end, offset)
            return False
        more_bytes = said_bytes + stored_bytes - touched.stored_bytes
        if self._bytes and self._bytes + more_bytes > COMMIT_BYTES_MAX:
            self.end = min(self.end, offset)
            return False
        self._bytes += more_bytes
        touched.stored_bytes = stored_bytes
        touched.held_bytes += said_bytes
        return True

    def fits_outputs(self, said_bytes: int, offset: int) -> bool:
        """Whether outputs alone still have room in the commit; where not, the batch ends before this record."""
        if self._bytes and self._bytes + said_bytes > COMMIT_BYTES_MAX:
            self.end = min(self.end, offset)
            return False
        self._bytes += said_bytes
        return True


def output_bytes(outputs: Sequence[HeldOutput]) -> int:
    """What outputs take, in a row as on the log."""
    if not outputs:  # Most events are only folded.
        return 0
    return sum([len(output.key) + len(output.value) for output in outputs]) + _OUTPUT_BYTES * len(outputs)


class _Newer(Struct, frozen=True):
    """A row whose batch is not yet committed."""

    batch_offset: int
    row: Row
    held: tuple[HeldOutput, ...]
    row_bytes: int


class RecentRows:
    """Rows that were stored not long ago, decoded. A partition has one owner, so nobody else changes them."""

    def __init__(self, bytes_max: int = REMEMBERED_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._rows: dict[str, tuple[Row, int]] = {}

    def get(self, subject: str) -> Row | None:
        """The row, taken out: it is about to be replaced by a newer one."""
        found = self._rows.pop(subject, None)
        if found is None:
            return None
        self._bytes -= found[1]
        return found[0]

    def put(self, subject: str, row: Row, row_bytes: int) -> None:
        """Keep a row, and let go of those that were not used for longest."""
        self.get(subject)
        self._rows[subject] = (row, row_bytes)
        self._bytes += row_bytes
        while self._bytes > self._bytes_max:
            self.get(next(iter(self._rows)))


class PartitionRows:
    """Rows of one partition: the stored ones, and over them those of batches that are not yet committed.

    `fleets` counts them, `told` is the partition's own row.
    """

    def __init__(self, stored: RowReader, start: Start, partition: int = 0) -> None:
        """Raises OwnerFenced when a newer owner has written a row, ContinuityBroken when a row is of a later log."""
        next_offset = start.next_offset
        self.fleets = FleetSums(next_offset)
        own_key = own_subject(partition).encode()
        self.told = Told(partition, stored.get(own_key), next_offset, start.generation)
        self.epoch = start.epoch
        self._generation = start.generation
        self._stored = stored
        self._newer: dict[str, _Newer] = {}
        self._due: dict[str, int] = {}
        self._timers: list[tuple[int, str]] = []
        self._holding: dict[str, frozenset[int]] = {}
        self._acknowledged_below = next_offset
        self._acknowledged_ahead: dict[str, int] = {}
        self._repeated_ahead: tuple[int, dict[str, int]] = (-1, {})
        self._remembered = RecentRows()
        for key, value in stored.scan():
            head = decode_head(value)
            _must_be_known(head, partition, start)
            if key != own_key:
                self._found(key.decode(), head)

    def _found(self, subject: str, head: StoredHead) -> None:
        """A stored row. Of another log its offsets count for nothing, and what it holds for them never goes out."""
        if head.due_ms is not None:
            self._wait(subject, head.due_ms)
        if head.generation != self._generation:
            self.fleets.found(subject, -1, [(-1, standing) for _, standing in head.standings[-1:]])
            return
        self.fleets.found(subject, head.applied, head.standings)
        if head.held:
            self._holding[subject] = frozenset(output.input_offset for output in head.held)

    def due_ms(self) -> int | None:
        """The earliest time that a row waits for."""
        while self._timers and self._due.get(self._timers[0][1]) != self._timers[0][0]:
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def waiting_for(self, tick: Record) -> list[str]:
        """The subjects that a tick steps: those that are due, and those that hold outputs of this very tick."""
        due = self._due_by(tick.recorded_ms)
        due.update(subject for subject, offsets in self._holding.items() if tick.offset in offsets)
        return sorted(due)

    def _due_by(self, now_ms: int) -> set[str]:
        """The subjects that are due, found from the top of the heap: most of those that wait are not looked at."""
        due: set[str] = set()
        places = [0]
        while places:
            place = places.pop()
            if place < len(self._timers) and self._timers[place][0] <= now_ms:
                due_ms, subject = self._timers[place]
                places += (2 * place + 1, 2 * place + 2)
                if self._due.get(subject) == due_ms:
                    due.add(subject)
        return due

    def touch(self, touched: dict[str, Touched], subject: str) -> Touched:
        """The row as it is now, to be worked on in a batch."""
        found = touched.get(subject)
        if found is None:
            row, held = self._read(subject)
            found = touched[subject] = Touched(row, held)
        return found

    def replace(self, touched: Touched, row: Row, encoded: bytes, outputs: Sequence[HeldOutput]) -> None:
        """The row after one more record, with the outputs that follow from it. A tick in the same batch already sees
        it."""
        if row.registered or touched.row.registered:
            self.fleets.count(row.applied, row.subject, row.standing)
        touched.row, touched.encoded, touched.changed = row, encoded, True
        touched.held = (*touched.held, *outputs)
        self._wait(row.subject, row.due_ms())
        self._hold(row.subject, touched.held)

    def writes(self, batch: Batch, batch_offset: int) -> tuple[RowWrite, ...]:
        """The rows that a batch changed, as they are to be stored; from here on they are the newest."""
        ahead = {subject: offset for subject, offset in batch.repeated.items() if offset >= batch.end}
        if ahead:
            self._repeated_ahead = (batch_offset, ahead)
        writes = []
        for subject, found in batch.touched.items():
            if not found.changed:
                continue
            self._newer[subject] = _Newer(batch_offset, found.row, found.held, len(found.encoded))
            standings = self.fleets.standings(subject)
            row = found.row
            released = StoredRow(row.due_ms(), row.applied, self.epoch, self._generation, (), standings, found.encoded)
            released_raw = encode_stored(released)
            holding_raw = encode_stored(replace(released, held=found.held)) if found.held else released_raw
            writes.append(RowWrite(subject.encode(), holding_raw, released_raw))
        told = self.told.write(self.epoch)
        return (*writes, told) if told is not None else tuple(writes)

    def acknowledged(self, batch_offset: int, next_offset: int) -> None:
        """The batch that began at `batch_offset` is durable: its rows can be read from the store, its outputs are
        out."""
        self._acknowledged_below = next_offset
        self.fleets.acknowledged(next_offset)
        self.told.acknowledged(next_offset)
        ahead = self._acknowledged_ahead
        for subject in [subject for subject, applied in ahead.items() if applied < next_offset]:
            del ahead[subject]
        if self._repeated_ahead[0] == batch_offset:
            # What is out need not go out again when the rest of the same record, or of the same batch, is taken.
            for subject, offset in self._repeated_ahead[1].items():
                ahead[subject] = offset
                self._holding[subject] = frozenset(at for at in self._holding.get(subject, ()) if at > offset)
            self._repeated_ahead = (-1, {})
        for subject in [s for s, newer in self._newer.items() if newer.batch_offset <= batch_offset]:
            stored = self._newer.pop(subject)
            if stored.row.applied >= next_offset:
                ahead[subject] = stored.row.applied
            self._remembered.put(subject, stored.row, stored.row_bytes)
            self._holding.pop(subject, None)

    def _read(self, subject: str) -> tuple[Row, tuple[HeldOutput, ...]]:
        newer = self._newer.get(subject)
        if newer is not None:
            return newer.row, self._unacknowledged(subject, newer.held)
        remembered = self._remembered.get(subject)
        if remembered is not None:
            return remembered, ()
        raw = self._stored.get(subject.encode())
        if raw is None:
            return Row(subject=subject), ()
        stored = decode_stored(raw)
        row = decode_row(stored.row)
        if stored.generation != self._generation:
            return replace(row, applied=-1), ()
        return row, self._unacknowledged(subject, stored.held)

    def _unacknowledged(self, subject: str, held: tuple[HeldOutput, ...]) -> tuple[HeldOutput, ...]:
        if not held:
            return ()
        below = max(self._acknowledged_below, self._acknowledged_ahead.get(subject, -1) + 1)
        return tuple(output for output in held if output.input_offset >= below)

    def _wait(self, subject: str, due_ms: int | None) -> None:
        if due_ms is None:
            self._due.pop(subject, None)
        elif self._due.get(subject) != due_ms:
            self._due[subject] = due_ms
            heapq.heappush(self._timers, (due_ms, subject))
            if len(self._timers) > TIMERS_MIN + 2 * len(self._due):
                # Timers that were set and moved on again would otherwise stay until their time has come.
                self._timers = sorted((at_ms, waiting) for waiting, at_ms in self._due.items())

    def _hold(self, subject: str, held: tuple[HeldOutput, ...]) -> None:
        if held:
            self._holding[subject] = frozenset(output.input_offset for output in held)
        else:
            self._holding.pop(subject, None)


def _must_be_known(head: StoredHead, partition: int, start: Start) -> None:
    if head.epoch > start.epoch:
        raise OwnerFenced(
            f"partition {partition} of {topics.EVENTS} was taken by a newer owner: a row of it has epoch {head.epoch}, "
            f"this process has {start.epoch}. Nothing was taken and this process must stop. Start it again: the group "
            "then gives it what is its own."
        )
    if head.generation > start.generation:
        raise ContinuityBroken(
            f"partition {partition} of {topics.EVENTS} has rows of its log's generation {head.generation}, and a "
            f"person's word is known only up to {start.generation}. Nothing was taken. Restore the rows' changelog, or "
            f"say once more that it may go on: setpoint log continue --partition {partition}"
        )
