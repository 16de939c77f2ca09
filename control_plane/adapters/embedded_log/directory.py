"""The data directory: who owns it, which format it has, and which log it is.

    owner        lock, held by the process that writes; its pid stands in it
    format.json  format version and generation; written last when a directory is created
    high_water   how far the log had been acknowledged
    rocksdb/     the store

A directory of a newer format, or one in use, is left exactly as it is.
"""

import fcntl
import json
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Final

from control_plane.adapters.embedded_log.faults import damaged, os_fault
from control_plane.errors import DataInUse, DataTooNew, InvalidSettings

FORMAT: Final = 1
_OWN_NAMES: Final = frozenset({"owner", "format.json", "format.json.new", "high_water", "rocksdb"})
_NOT_OPENED: Final = "Nothing was opened."


class Directory:
    """One data directory by its parts."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.owner = path / "owner"
        self.format = path / "format.json"
        self.high_water = path / "high_water"
        self.store = path / "rocksdb"
        self._lock: int | None = None

    def generation(self) -> str | None:
        """Which log this is, or None where there is none yet. Raises DataTooNew, DataDamaged, InvalidSettings."""
        try:
            text = self.format.read_text()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as exc:
            raise os_fault(exc, self.path, _NOT_OPENED) from exc
        except UnicodeDecodeError as exc:
            raise damaged(self.format, "it is not text", _NOT_OPENED) from exc
        return self._generation_in(text)

    def _generation_in(self, text: str) -> str:
        try:
            said = json.loads(text)
            version, generation = said["format"], said["generation"]
        except (ValueError, KeyError, TypeError) as exc:
            raise damaged(self.format, "it is not the JSON object that was written", _NOT_OPENED) from exc
        if not isinstance(version, int) or not isinstance(generation, str):
            raise damaged(self.format, "it is not the JSON object that was written", _NOT_OPENED)
        if version > FORMAT:
            raise DataTooNew(
                f"The log at {self.path} has format {version}; this Setpoint knows formats up to {FORMAT}. "
                "Nothing was opened or changed. Run the newer Setpoint that wrote it, or name another directory."
            )
        return generation

    def make(self) -> None:
        """Create the directory where it is missing. Raises InvalidSettings, StorageFull."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            strangers = sorted(set(os.listdir(self.path)) - _OWN_NAMES)
        except (FileExistsError, NotADirectoryError) as exc:
            raise InvalidSettings(
                f"{self.path} is not a directory. {_NOT_OPENED} Name a directory as backbone."
            ) from exc
        except OSError as exc:
            raise os_fault(exc, self.path, _NOT_OPENED) from exc
        if strangers and not self.format.exists():
            raise InvalidSettings(
                f"{self.path} is no log and not empty (it holds {strangers[0]}). {_NOT_OPENED} "
                "Name an empty or new directory as backbone."
            )

    def take(self) -> None:
        """Lock the directory for this process. Raises DataInUse at once when another one has it."""
        try:
            descriptor = os.open(self.owner, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as exc:
            raise os_fault(exc, self.path, _NOT_OPENED) from exc
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            pid = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "not known"
            os.close(descriptor)
            raise DataInUse(
                f"The log at {self.path} is in use by another process (pid {pid}). {_NOT_OPENED} "
                f"Stop that process, or name another directory as backbone."
            ) from exc
        self._lock = descriptor
        try:
            os.pwrite(descriptor, f"{os.getpid():<20}\n".encode(), 0)
        except OSError as exc:
            self.release()
            raise os_fault(exc, self.path, _NOT_OPENED) from exc

    def release(self) -> None:
        """Unlock. The file stays: removing it would let two processes lock two files of one name."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def establish(self, store: Callable[[str], None]) -> str:
        """Draw a generation, have it stored, then write format.json, all of it on the device. Raises OSError."""
        generation = secrets.token_hex(8)
        store(generation)
        new = self.path / "format.json.new"
        with new.open("w") as file:
            json.dump({"format": FORMAT, "generation": generation}, file)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self.format)
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        return generation
