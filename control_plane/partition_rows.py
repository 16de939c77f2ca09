"""The rows of one partition while batches are in flight: what is stored, what is newer, and what waits for time.

A row that was touched carries every output of its subject that is not yet acknowledged, until it is.
"""

import heapq
from collections.abc import Iterable

from msgspec.structs import replace

from control_plane.ports.backbone import Record, RowReader, RowWrite
from state.rows import HeldOutput, Row, StoredRow, decode_head, decode_row, decode_stored, encode_stored

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


class PartitionRows:
    """Rows of one partition: the stored ones, and over them those of batches that are not yet committed."""

    def __init__(self, stored: RowReader, next_offset: int) -> None:
        self._stored = stored
        self._newer: dict[str, tuple[int, Row, tuple[HeldOutput, ...]]] = {}
        self._due: dict[str, int] = {}
        self._timers: list[tuple[int, str]] = []
        self._holding: dict[str, frozenset[int]] = {}
        self._acknowledged_below = next_offset
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
            self._newer[subject] = (batch_offset, found.row, found.held)
            released = StoredRow(found.row.due_ms(), found.row.applied, EPOCH, (), found.encoded)
            released_raw = encode_stored(released)
            holding_raw = encode_stored(replace(released, held=found.held)) if found.held else released_raw
            writes.append(RowWrite(subject.encode(), holding_raw, released_raw))
        return tuple(writes)

    def acknowledged(self, batch_offset: int, next_offset: int) -> None:
        """The batch that began at `batch_offset` is durable: its rows can be read from the store, its outputs are
        out."""
        self._acknowledged_below = next_offset
        for subject in [s for s, newer in self._newer.items() if newer[0] <= batch_offset]:
            del self._newer[subject]
            self._holding.pop(subject, None)

    def _read(self, subject: str) -> tuple[Row, tuple[HeldOutput, ...]]:
        newer = self._newer.get(subject)
        if newer is not None:
            return newer[1], self._unacknowledged(newer[2])
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
