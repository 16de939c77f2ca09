"""The rows of one partition while batches are in flight: what is stored, what is newer, and what waits for time.

A row that was touched carries every output of its subject that is not yet acknowledged, until it is.
"""

import heapq
from collections.abc import Iterable

from msgspec import Struct
from msgspec.structs import replace

from control_plane.ports.backbone import Record, RowReader, RowWrite
from state.rows import HeldOutput, Row, StoredRow, decode_head, decode_row, decode_stored, encode_stored

REMEMBERED_BYTES_MAX = 8 * 1024 * 1024
"""Rows of a partition that are kept at hand after they were stored, the last ones used; counted as they are stored."""

EPOCH = 0
"""The owner's number, in each row. It stays 0 while a file lock is what makes one owner; claims will raise it."""


class Touched:
    """A row that a batch works on, with the outputs it holds."""

    __slots__ = ("changed", "encoded", "held", "row")

    def __init__(self, row: Row, held: tuple[HeldOutput, ...]) -> None:
        self.row = row
        self.held = held
        self.encoded = b""
        self.changed = False


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
    """Rows of one partition: the stored ones, and over them those of batches that are not yet committed."""

    def __init__(self, stored: RowReader, next_offset: int) -> None:
        self._stored = stored
        self._newer: dict[str, _Newer] = {}
        self._due: dict[str, int] = {}
        self._timers: list[tuple[int, str]] = []
        self._holding: dict[str, frozenset[int]] = {}
        self._acknowledged_below = next_offset
        self._remembered = RecentRows()
        for key, value in stored.scan():
            head = decode_head(value)
            subject = key.decode()
            if head.due_ms is not None:
                self._wait(subject, head.due_ms)
            if head.held:
                self._holding[subject] = frozenset(output.input_offset for output in head.held)

    def due_ms(self) -> int | None:
        """The earliest time that a row waits for."""
        while self._timers and self._due.get(self._timers[0][1]) != self._timers[0][0]:
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def waiting_for(self, tick: Record) -> list[str]:
        """The subjects that a tick steps: those that are due, and those that hold outputs of this very tick."""
        due = {subject for subject, due_ms in self._due.items() if due_ms <= tick.recorded_ms}
        due.update(subject for subject, offsets in self._holding.items() if tick.offset in offsets)
        return sorted(due)

    def touch(self, touched: dict[str, Touched], subject: str) -> Touched:
        """The row as it is now, to be worked on in a batch."""
        found = touched.get(subject)
        if found is None:
            row, held = self._read(subject)
            found = touched[subject] = Touched(row, held)
        return found

    def replace(self, touched: Touched, row: Row, encoded: bytes, outputs: Iterable[HeldOutput]) -> None:
        """The row after one more record, with the outputs that follow from it. A tick in the same batch already sees
        it."""
        touched.row, touched.encoded, touched.changed = row, encoded, True
        touched.held = (*touched.held, *outputs)
        self._wait(row.subject, row.due_ms())
        self._hold(row.subject, touched.held)

    def writes(self, touched: dict[str, Touched], batch_offset: int) -> tuple[RowWrite, ...]:
        """The rows that a batch changed, as they are to be stored; from here on they are the newest."""
        writes = []
        for subject, found in touched.items():
            if not found.changed:
                continue
            self._newer[subject] = _Newer(batch_offset, found.row, found.held, len(found.encoded))
            released = StoredRow(found.row.due_ms(), found.row.applied, EPOCH, (), found.encoded)
            released_raw = encode_stored(released)
            holding_raw = encode_stored(replace(released, held=found.held)) if found.held else released_raw
            writes.append(RowWrite(subject.encode(), holding_raw, released_raw))
        return tuple(writes)

    def acknowledged(self, batch_offset: int, next_offset: int) -> None:
        """The batch that began at `batch_offset` is durable: its rows can be read from the store, its outputs are
        out."""
        self._acknowledged_below = next_offset
        for subject in [s for s, newer in self._newer.items() if newer.batch_offset <= batch_offset]:
            stored = self._newer.pop(subject)
            self._remembered.put(subject, stored.row, stored.row_bytes)
            self._holding.pop(subject, None)

    def _read(self, subject: str) -> tuple[Row, tuple[HeldOutput, ...]]:
        newer = self._newer.get(subject)
        if newer is not None:
            return newer.row, self._unacknowledged(newer.held)
        remembered = self._remembered.get(subject)
        if remembered is not None:
            return remembered, ()
        raw = self._stored.get(subject.encode())
        if raw is None:
            return Row(subject=subject), ()
        stored = decode_stored(raw)
        return decode_row(stored.row), self._unacknowledged(stored.held)

    def _unacknowledged(self, held: tuple[HeldOutput, ...]) -> tuple[HeldOutput, ...]:
        return tuple(output for output in held if output.input_offset >= self._acknowledged_below)

    def _wait(self, subject: str, due_ms: int | None) -> None:
        if due_ms is None:
            self._due.pop(subject, None)
        elif self._due.get(subject) != due_ms:
            self._due[subject] = due_ms
            heapq.heappush(self._timers, (due_ms, subject))

    def _hold(self, subject: str, held: tuple[HeldOutput, ...]) -> None:
        if held:
            self._holding[subject] = frozenset(output.input_offset for output in held)
        else:
            self._holding.pop(subject, None)
