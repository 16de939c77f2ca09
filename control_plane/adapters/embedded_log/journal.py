"""A look at RocksDB's journals before RocksDB sees them: it must not be given a record of a recycled journal.

We never recycle journals. But when a flipped bit makes a record look like one of a recycled file, RocksDB 10 reads it
again and again and never comes back (facebook/rocksdb#11968), and a start that hangs tells nobody anything. Everything
else about a journal is RocksDB's to judge: only the headers are walked here, as its own reader walks them.
"""

from pathlib import Path
from struct import Struct as Packer
from typing import Final

from control_plane.adapters.embedded_log.faults import damaged, os_fault

_BLOCK_BYTES: Final = 32 * 1024
_HEADER: Final = Packer("<4xHB")
"""A checksum that is not looked at, length, type."""
_WHOLE_FIRST_MIDDLE_LAST: Final = frozenset({1, 2, 3, 4})
_RECYCLED: Final = frozenset({5, 6, 7, 8, 11})
_CHUNK_BYTES: Final = 32 * _BLOCK_BYTES
_UNDONE: Final = "Nothing was opened."


def check_journals(store: Path) -> None:
    """Walk all journals and manifests of a store. Raises DataDamaged."""
    try:
        for file in sorted((*store.glob("*.log"), *store.glob("MANIFEST-*"))):
            _check(file)
    except FileNotFoundError:
        return  # A live writer has just removed what it no longer needs; RocksDB says if it was needed.
    except OSError as exc:
        raise os_fault(exc, store, _UNDONE) from exc


def _check(file: Path) -> None:
    with file.open("rb") as journal:
        start = 0
        while chunk := journal.read(_CHUNK_BYTES):
            at = _recycled_in(chunk)
            if at is not None:
                raise damaged(file, f"the type of the record at byte {start + at} was never written", _UNDONE)
            start += len(chunk)


def _recycled_in(chunk: bytes) -> int | None:
    """Where in some whole blocks a record of a recycled journal stands."""
    at, header_bytes, end = 0, _HEADER.size, len(chunk)
    unpack, usual = _HEADER.unpack_from, _WHOLE_FIRST_MIDDLE_LAST
    while at + header_bytes <= end:
        length, kind = unpack(chunk, at)
        if kind in _RECYCLED:
            return at
        block_end = at - at % _BLOCK_BYTES + _BLOCK_BYTES
        at = at + header_bytes + length if kind in usual else block_end
        if block_end - at < header_bytes:
            at = block_end
    return None
