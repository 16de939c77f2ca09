"""The folder where a process keeps its tables, and its name in consumer groups. One process owns it at a time."""

import fcntl
import os
import uuid
from pathlib import Path

from control_plane.errors import DataInUse


class DataDir:
    """Made when it is first needed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock: int | None = None

    @property
    def tables(self) -> Path:
        return self._path / "tables"

    def member(self) -> str:
        """This worker's name in its groups: the same after a restart, so that it gets its partitions back at once."""
        self.tables.mkdir(parents=True, exist_ok=True)
        path = self._path / "member"
        if not path.exists():
            path.write_text(uuid.uuid4().hex[:12])
        return path.read_text().strip()

    def claim(self) -> None:
        """Raises DataInUse while another process has it."""
        self.tables.mkdir(parents=True, exist_ok=True)
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
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)
