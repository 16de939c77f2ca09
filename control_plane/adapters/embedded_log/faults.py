"""What the store or the file system complains about, as an error that says what was not done and what to do."""

from errno import EACCES, EDQUOT, EFBIG, ELOOP, ENAMETOOLONG, ENOENT, ENOSPC, EPERM, EROFS
from pathlib import Path
from typing import Final

from control_plane.errors import (
    BackboneUnavailable,
    DataDamaged,
    InvalidSettings,
    SetpointError,
    StorageFull,
)

_FULL: Final = ("No space left on device", "File too large", "Disk quota exceeded", "NoSpace", "Space limit")
_DAMAGED: Final = ("Corruption", "checksum mismatch", "create_if_missing is false", "No such file or directory")
_FORBIDDEN: Final = ("Permission denied", "Read-only file system", "Operation not permitted")


def fault(exc: Exception, path: Path, undone: str) -> SetpointError:
    """The error to raise for one of RocksDB's, which come as bare `Exception` with a text."""
    text = " ".join(str(exc).split())
    if any(sign in text for sign in _FULL):
        return storage_full(path, text, undone)
    if any(sign in text for sign in _DAMAGED):
        return damaged(path, text, undone)
    if any(sign in text for sign in _FORBIDDEN):
        return not_writable(path, text, undone)
    return BackboneUnavailable(
        f"The log at {path} met an error of its disk: {text}. {undone} Look at the device and the system's own log."
    )


def os_fault(exc: OSError, path: Path, undone: str) -> SetpointError:
    """The error to raise for one of the operating system's."""
    if exc.errno in (ENOSPC, EDQUOT, EFBIG):
        return storage_full(path, str(exc), undone)
    if exc.errno in (EACCES, EPERM, EROFS, ENOENT, ENAMETOOLONG, ELOOP):
        return not_writable(path, str(exc), undone)
    return BackboneUnavailable(
        f"The log at {path} met an error of its disk: {exc}. {undone} Look at the device and the system's own log."
    )


def storage_full(path: Path, detail: str, undone: str) -> StorageFull:
    """The disk under the log takes no more."""
    return StorageFull(
        f"The disk under {path} takes no more ({detail}). {undone} "
        "Make room there; the log goes on with the next write, without a restart."
    )


def damaged(path: Path, detail: str, undone: str) -> DataDamaged:
    """Bytes of the log are not those that were written."""
    return DataDamaged(
        f"The log at {path} is damaged: {detail}. {undone} Nothing was repaired. "
        "Stop here, check the disk, and restore the directory from a backup."
    )


def not_writable(path: Path, detail: str, undone: str) -> InvalidSettings:
    """The directory may not be written."""
    return InvalidSettings(
        f"The log at {path} cannot be written: {detail}. {undone} "
        "Make the directory writable for this user, or name another one as backbone."
    )
