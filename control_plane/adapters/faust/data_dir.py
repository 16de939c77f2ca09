"""The folder where a process keeps its tables, and its name in consumer groups. One process owns it at a time."""

import errno
import fcntl
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from control_plane.errors import DataInUse, InvalidSettings, StorageFull

MEMBER_CHARS = 12


class DataDir:
    """Made when it is first needed. Raises InvalidSettings where it cannot be, StorageFull on a full disk."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock: int | None = None

    @property
    def tables(self) -> Path:
        """Where the tables are; `make` makes it."""
        return self._path / "tables"

    def make(self) -> None:
        """Have a place for tables."""
        with self._explained():
            self.tables.mkdir(parents=True, exist_ok=True)

    def member(self) -> str:
        """This worker's name in its groups: the same after a restart, so that it gets its partitions back at once."""
        self.make()
        path = self._path / "member"
        with self._explained():
            # An empty one is what a full disk has left behind.
            if not path.exists() or not path.read_text().strip():
                path.write_text(uuid.uuid4().hex[:MEMBER_CHARS])
            return path.read_text().strip()

    def claim(self) -> None:
        """Raises DataInUse while another process has it."""
        self.make()
        with self._explained():
            lock = os.open(self._path / "tables.lock", os.O_CREAT | os.O_RDWR, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(lock)
            raise DataInUse(
                f"another process uses the tables in {self._path}. Nothing was opened. Stop it, or choose another data "
                "directory."
            ) from error
        self._lock = lock

    def release(self) -> None:
        """Let others have it."""
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise StorageFull(
                    f"the disk under {self._path} is full. Nothing was opened. Free space and start again."
                ) from error
            raise InvalidSettings(
                f"the data directory {self._path} cannot be used ({error.strerror}). Nothing was opened. Make it a "
                "folder that this user may write to, or name another as data_dir."
            ) from error
