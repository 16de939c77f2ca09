"""RocksDB, opened so that it never drops what was acknowledged without saying so.

Knows nothing of topics.
"""

import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from rocksdict import (
    AccessType,
    DBRecoveryMode,
    Rdict,
    RdictIter,
    ReadOptions,
    WriteBatch,
)

from control_plane.adapters.embedded_log.faults import damaged, fault, storage_full
from control_plane.adapters.embedded_log.high_water import required
from control_plane.adapters.embedded_log.journal import check_journals
from control_plane.adapters.embedded_log.tuning import store_options
from control_plane.errors import DataDamaged, SetpointError

ROOM_CHECK_BYTES: Final = 256 * 1024
"""The disk's free space is looked at again after so many bytes written."""

log = logging.getLogger(__name__)


class Store:
    """One RocksDB in raw mode. A store that met an error while writing is opened again before the next write."""

    def __init__(self, path: Path, high_water: Path, free_bytes_min: int) -> None:
        self.path = path
        self._high_water = high_water
        self._free_bytes_min = free_bytes_min
        self._room_check_due_bytes = 0
        self._ailing = False
        self._db: Any = None
        self._lock = threading.Lock()
        """Held by an fsync in its thread, so that the store is not closed under it."""

    @classmethod
    def open(cls, path: Path, high_water: Path, *, free_bytes_min: int, create: bool = False) -> "Store":
        """Open for writing. Raises DataDamaged, StorageFull, InvalidSettings, BackboneUnavailable."""
        store = cls(path, high_water, free_bytes_min)
        store._check_room(0)
        store._db = store._opened(create=create)
        return store

    def _opened(self, *, create: bool) -> Any:
        """First as if nothing could be torn: that is the usual case, and it fails before anything is touched."""
        check_journals(self.path)
        needed = 0 if create else required(self._high_water)
        try:
            db = _rdict(self.path, DBRecoveryMode.absolute_consistency(), create=create)
        except Exception as exc:  # RocksDB's errors have no class of their own
            found = fault(exc, self.path, "Nothing was opened.")
            if not isinstance(found, DataDamaged):
                raise found from exc
            self._judge_tail(needed, found, exc)
            db = self._opened_without_torn_tail()
        reached = db.latest_sequence_number()
        if reached < needed:
            db.close()
            raise self._lost(reached, needed)
        return db

    def _judge_tail(self, needed: int, found: SetpointError, exc: Exception) -> None:
        """Whether only a write was torn that nobody had been told of. Raises DataDamaged when it was more.

        Both looks are read-only. Point-in-time stops at the first bad byte: it must have everything that was promised.
        Skipping goes on behind it: whatever it finds there shows that the damage is in the middle, not at the end.
        """
        reached = self._reach(DBRecoveryMode.point_in_time(), found, exc)
        if reached < needed:
            raise self._lost(reached, needed) from exc
        if self._reach(DBRecoveryMode.skip_any_corrupted_record(), found, exc) > reached:
            raise found from exc

    def _reach(self, mode: Any, found: SetpointError, exc: Exception) -> int:
        try:
            db = Rdict(str(self.path), store_options(mode), access_type=AccessType.read_only(False))
        except Exception:  # noqa: BLE001 - RocksDB's errors have no class of their own; the first is the one to tell
            raise found from exc
        reached = int(db.latest_sequence_number())
        db.close()
        return reached

    def _opened_without_torn_tail(self) -> Any:
        try:
            return _rdict(self.path, DBRecoveryMode.point_in_time(), create=False)
        except Exception as exc:  # RocksDB's errors have no class of their own
            raise fault(exc, self.path, "Nothing was opened.") from exc

    def _lost(self, reached: int, needed: int) -> SetpointError:
        return damaged(
            self.path, f"it ends at write {reached}, but {needed} had been acknowledged", "Nothing was opened."
        )

    def write(self, batch: WriteBatch, size_bytes: int, *, from_reserve: bool = False) -> int:
        """One atomic write, or none; returns the store's sequence number after it. Raises as `open`.

        What makes room may take from the room that is kept free.
        """
        assert not self._ailing, "an ailing store is opened again before it is written"
        if not from_reserve:
            self._check_room(size_bytes)
        try:
            self._db.write(batch)
        except Exception as exc:  # RocksDB's errors have no class of their own
            self._ailing = True
            raise fault(exc, self.path, "Nothing of this write was kept.") from exc
        return int(self._db.latest_sequence_number())

    @property
    def ailing(self) -> bool:
        """Whether a write failed and the store was not yet opened again."""
        return self._ailing

    def _check_room(self, size_bytes: int) -> None:
        """Stop while RocksDB still has room to tidy up: a disk that is really full is harder to leave again."""
        self._room_check_due_bytes -= size_bytes
        if self._room_check_due_bytes > 0 or self._free_bytes_min == 0:
            return
        free_bytes = _free_bytes(self.path)
        if free_bytes < self._free_bytes_min + size_bytes:
            detail = f"{free_bytes} bytes are free, {self._free_bytes_min} must stay free"
            raise storage_full(self.path, detail, "Nothing was written.")
        self._room_check_due_bytes = ROOM_CHECK_BYTES

    def open_again(self, *, from_reserve: bool = False) -> None:
        """After a failed write RocksDB refuses all others until it is opened anew; meanwhile it can still be read.

        Raises as `open`, and then it can still be read.
        """
        self._room_check_due_bytes = 0
        if not from_reserve:
            self._check_room(0)
        with self._lock:
            self._close_db()
            try:
                self._db = self._opened(create=False)
            except SetpointError:
                self._db = Rdict(
                    str(self.path),
                    store_options(DBRecoveryMode.point_in_time()),
                    access_type=AccessType.read_only(False),
                )
                raise
        self._ailing = False

    def reclaim(self, start: bytes, end: bytes) -> None:
        """Give back the space of a removed range at once if room is short; otherwise RocksDB does it as it goes.

        Blocks while it does so, which only an emergency is worth. Where there is too little room even for this, RocksDB
        leaves things as they are, and the next append says that the disk is full.
        """
        if self._free_bytes_min == 0 or _free_bytes(self.path) > 2 * self._free_bytes_min:
            return
        try:
            self._db.compact_range(start, end)
        except Exception as exc:  # RocksDB's errors have no class of their own
            raise fault(exc, self.path, "The space of what was removed was not given back yet.") from exc
        self._room_check_due_bytes = 0

    def sync(self) -> None:
        """Put everything written so far on the device. May be called from another thread. Raises as `write`."""
        try:
            with self._lock:
                self._db.flush_wal(True)
        except Exception as exc:  # RocksDB's errors have no class of their own
            # After a failed fsync nobody knows what is on the device, and a second one would say that all is well.
            # Opening again reads the journal and puts what it holds into files of its own.
            self._ailing = True
            raise fault(exc, self.path, "What was written since the last fsync may not be on the device.") from exc

    def get(self, key: bytes) -> bytes | None:
        """The value under a key. Raises DataDamaged."""
        try:
            value: bytes | None = self._db.get(key)
        except Exception as exc:  # RocksDB's errors have no class of their own
            raise fault(exc, self.path, "Nothing was read.") from exc
        return value

    def get_many(self, keys: list[bytes]) -> list[bytes | None]:
        """The values under keys, in their order. Raises DataDamaged."""
        try:
            values: list[bytes | None] = self._db.get(keys)
        except Exception as exc:  # RocksDB's errors have no class of their own
            raise fault(exc, self.path, "Nothing was read.") from exc
        return values

    def items(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        """(key, value) from `start` up to but not including `end`.

        It ends silently at damage: a caller that expects more calls `check`.
        """
        items: Iterator[tuple[bytes, bytes]] = self._db.items(from_key=start, read_opt=_until(end))
        return items

    def last(self, start: bytes, end: bytes) -> tuple[bytes, bytes] | None:
        """The last (key, value) from `start` up to but not including `end`. Raises DataDamaged."""
        cursor = self._db.iter(_until(end))
        cursor.seek_to_last()
        found = (cursor.key(), cursor.value()) if cursor.valid() else None
        complaint = self._complaint(cursor)
        del cursor
        if complaint is not None:
            raise complaint
        return found if found is not None and found[0] >= start else None

    def first(self, start: bytes, end: bytes) -> tuple[bytes, bytes] | None:
        """The first (key, value) from `start` up to but not including `end`. Raises DataDamaged."""
        cursor = self._db.iter(_until(end))
        cursor.seek(start)
        found = (cursor.key(), cursor.value()) if cursor.valid() else None
        complaint = self._complaint(cursor)
        del cursor
        if complaint is not None:
            raise complaint
        return found

    def complaint_about(self, start: bytes, end: bytes) -> SetpointError | None:
        """What RocksDB says when the range cannot be read whole."""
        cursor = self._db.iter(_until(end))
        cursor.seek(start)
        while cursor.valid():
            cursor.next()
        return self._complaint(cursor)

    def check(self, start: bytes, end: bytes) -> None:
        """Raise DataDamaged when the range cannot be read whole."""
        complaint = self.complaint_about(start, end)
        if complaint is not None:
            raise complaint

    def _complaint(self, cursor: RdictIter) -> SetpointError | None:
        """What went wrong with a cursor. Returned, not raised: a traceback would hold the cursor, and so the store."""
        try:
            cursor.status()
        except Exception as exc:  # noqa: BLE001 - RocksDB's errors have no class of their own
            found = fault(exc, self.path, "Nothing was read.")
            found.__cause__ = exc.with_traceback(None)
            return found
        return None

    @property
    def sequence(self) -> int:
        """The number of the last write."""
        return int(self._db.latest_sequence_number())

    def close(self) -> None:
        """Let go of the store. An ailing one closes, too: what it acknowledged is in its journal."""
        self._close_db()

    def _close_db(self) -> None:
        if self._db is None:
            return
        try:
            self._db.close()
        except Exception as exc:  # noqa: BLE001 - RocksDB's errors have no class of their own
            # It is closed all the same. Its write buffer could not become a table; its journal still has all of it.
            log.warning("store closed with an error", extra={"path": str(self.path), "error": str(exc)})


def new_batch() -> WriteBatch:
    """An empty write."""
    return WriteBatch(raw_mode=True)


def _rdict(path: Path, mode: Any, *, create: bool) -> Any:
    options = store_options(mode)
    options.create_if_missing(create)
    return Rdict(str(path), options)


def _until(end: bytes) -> ReadOptions:
    options = ReadOptions()
    options.set_iterate_upper_bound(end)
    return options


def _free_bytes(path: Path) -> int:
    """Free bytes of the disk that holds the path, or that would hold it."""
    while not path.exists():
        path = path.parent
    room = os.statvfs(path)
    return room.f_bavail * room.f_frsize
