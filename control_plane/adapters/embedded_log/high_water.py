"""How far the log had been acknowledged, kept in a small file beside the store.

RocksDB alone cannot tell a write that was never finished from an acknowledged one that was lost: both are bytes missing
at the end of its journal. This file can. As long as the machine has not restarted (same boot id), everything that was
acknowledged must be there; after a restart, everything that was synced. It is written after each write with one small
`pwrite`, which survives `kill -9` as the journal does.
"""

import logging
import os
from pathlib import Path
from struct import Struct as Packer
from typing import Final
from zlib import crc32

from control_plane.adapters.embedded_log.faults import damaged, os_fault

_SLOT: Final = Packer("<Q16sQQ")
_CHECKSUM: Final = Packer("<I")
_SLOT_BYTES: Final = 64
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_NO_BOOT_ID: Final = bytes(16)

log = logging.getLogger(__name__)


class HighWater:
    """Two slots, written in turn, so that one is whole whatever happens while the other is written."""

    def __init__(self, path: Path, descriptor: int, turn: int, acknowledged: int, synced: int) -> None:
        self._path = path
        self._descriptor = descriptor
        self._boot_id = _boot_id()
        self._turn = turn
        self.acknowledged = acknowledged
        self.synced = synced

    @classmethod
    def create(cls, path: Path) -> "HighWater":
        """A new file, on the device before this returns. Raises OSError."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        os.pwrite(descriptor, bytes(2 * _SLOT_BYTES), 0)
        mark = cls(path, descriptor, 0, 0, 0)
        mark.write(0, 0)
        os.fsync(descriptor)
        return mark

    @classmethod
    def open(cls, path: Path) -> "HighWater":
        """The file as it was left. Raises DataDamaged when it is missing or neither slot is whole."""
        try:
            descriptor = os.open(path, os.O_RDWR)
        except FileNotFoundError as exc:
            raise damaged(path, "the file is missing", "Nothing was opened.") from exc
        except OSError as exc:
            raise os_fault(exc, path, "Nothing was opened.") from exc
        turn, acknowledged, synced = _read(path, os.pread(descriptor, 2 * _SLOT_BYTES, 0))
        return cls(path, descriptor, turn, acknowledged, synced)

    def write(self, acknowledged: int, synced: int) -> None:
        """Note what is acknowledged and what is on the device, as sequence numbers of the store."""
        self._turn += 1
        body = _SLOT.pack(self._turn, self._boot_id, acknowledged, synced)
        try:
            os.pwrite(self._descriptor, body + _CHECKSUM.pack(crc32(body)), self._turn % 2 * _SLOT_BYTES)
        except OSError as exc:
            # The write that this notes stands, so its writer must not hear that it failed. An older note only makes
            # the check at the next start weaker.
            log.warning("high water mark not written", extra={"path": str(self._path), "error": str(exc)})
        self.acknowledged = acknowledged
        self.synced = synced

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._descriptor)


def required(path: Path) -> int:
    """The sequence number that the store must reach to hold everything it promised. Raises DataDamaged."""
    try:
        content = path.read_bytes()
    except FileNotFoundError as exc:
        raise damaged(path, "the file is missing", "Nothing was opened.") from exc
    except OSError as exc:
        raise os_fault(exc, path, "Nothing was opened.") from exc
    _, boot_id, acknowledged, synced = _newest(path, content)
    same_boot = boot_id == _boot_id() and boot_id != _NO_BOOT_ID
    return int(acknowledged if same_boot else synced)


def _read(path: Path, content: bytes) -> tuple[int, int, int]:
    turn, _, acknowledged, synced = _newest(path, content)
    return turn, acknowledged, synced


def _newest(path: Path, content: bytes) -> tuple[int, bytes, int, int]:
    slots = [slot for at in (0, _SLOT_BYTES) if (slot := _slot(content[at : at + _SLOT_BYTES])) is not None]
    if not slots:
        raise damaged(path, "neither slot's checksum holds", "Nothing was opened.")
    return max(slots)


def _slot(content: bytes) -> tuple[int, bytes, int, int] | None:
    if len(content) < _SLOT.size + _CHECKSUM.size:
        return None
    if _CHECKSUM.unpack_from(content, _SLOT.size)[0] != crc32(content[: _SLOT.size]):
        return None
    turn, boot_id, acknowledged, synced = _SLOT.unpack_from(content)
    return turn, boot_id, acknowledged, synced


def _boot_id() -> bytes:
    """Which start of the machine this is; zeros where that cannot be told, which counts as another start."""
    try:
        return bytes.fromhex(_BOOT_ID.read_text().strip().replace("-", ""))
    except (OSError, ValueError):
        return _NO_BOOT_ID
