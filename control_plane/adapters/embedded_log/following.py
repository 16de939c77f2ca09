"""A store that is only read: beside a live writer, after one, or in a directory that cannot be written.

Writes nothing into the log's directory. The writer removes files at will, so whatever meets a file that has just gone
looks again.
"""

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

from rocksdict import AccessType, DBRecoveryMode, Rdict

from control_plane.adapters.embedded_log.faults import damaged, fault
from control_plane.adapters.embedded_log.high_water import required
from control_plane.adapters.embedded_log.journal import check_journals
from control_plane.adapters.embedded_log.store import Store
from control_plane.adapters.embedded_log.tuning import store_options
from control_plane.errors import DataDamaged, InvalidSettings

LOOKS_MAX: Final = 20
"""How often a file that has just gone is taken for the writer's doing."""

_NOT_LINKED: Final = ("LOCK", "LOG", "rocksdict-config.json")
_GONE: Final = "No such file or directory"

Seen = TypeVar("Seen")


class FollowingStore(Store):
    """RocksDB as a secondary: sees what the writer had written at the last `catch_up`."""

    def __init__(self, path: Path, high_water: Path) -> None:
        super().__init__(path, high_water, free_bytes_min=0)
        self._scratch = Path(tempfile.mkdtemp(prefix="setpoint-log-"))
        self._links: Path | None = None

    @classmethod
    def follow(cls, path: Path, high_water: Path) -> "FollowingStore":
        """Open to read what had been acknowledged, and maybe more. Raises DataDamaged, InvalidSettings."""
        store = cls(path, high_water)
        try:
            store._start()
        except BaseException:
            store.close()
            raise
        return store

    def _start(self) -> None:
        check_journals(self.path)
        needed = required(self._high_water)
        for look in range(LOOKS_MAX):
            try:
                self._db = self._secondary()
                break
            except Exception as exc:  # RocksDB's errors have no class of their own
                if _GONE not in str(exc) or look == LOOKS_MAX - 1:
                    raise fault(exc, self.path, "Nothing was opened.") from exc
        if self.sequence < needed:
            self.catch_up()
        if self.sequence < needed:
            detail = f"it ends at write {self.sequence}, but {needed} had been acknowledged"
            raise damaged(self.path, detail, "Nothing was opened.")

    def _secondary(self) -> Any:
        """rocksdict notes its settings beside the store even when it only reads; where it cannot, it gets links."""
        try:
            return self._secondary_of(self._links or self.path)
        except Exception as exc:
            if self._links is not None or not isinstance(fault(exc, self.path, ""), InvalidSettings):
                raise
        self._links = self._scratch / "links"
        self._links.mkdir()
        self._link()
        return self._secondary_of(self._links)

    def _secondary_of(self, path: Path) -> Any:
        options = store_options(DBRecoveryMode.tolerate_corrupted_tail_records())
        options.set_max_open_files(-1)  # Only files that are held open can still be read once the writer removed them.
        return Rdict(str(path), options, access_type=AccessType.secondary(str(self._scratch / "own")))

    def _link(self) -> None:
        if self._links is None:
            return
        there = {name for name in os.listdir(self.path) if not name.startswith(_NOT_LINKED)}
        linked = {entry.name for entry in os.scandir(self._links) if entry.is_symlink()}
        for name in there - linked:
            (self._links / name).symlink_to(self.path / name)
        for name in linked - there:
            (self._links / name).unlink()

    def catch_up(self) -> None:
        """See what the writer has written since. Raises DataDamaged."""
        for look in range(LOOKS_MAX):
            self._link()
            try:
                self._db.try_catch_up_with_primary()
                return
            except Exception as exc:  # RocksDB's errors have no class of their own
                if _GONE not in str(exc) or look == LOOKS_MAX - 1:
                    raise fault(exc, self.path, "Nothing new was read.") from exc

    def caught_up(self, look: Callable[[Store], Seen]) -> Seen:
        """What a look at the store finds once it has caught up. Raises DataDamaged.

        A journal that the writer removed between being listed and being read leaves a hole in what a secondary sees,
        without a word, until it catches up again; only a hole that stays is damage.
        """
        for _ in range(LOOKS_MAX - 1):
            self.catch_up()
            try:
                return look(self)
            except DataDamaged:
                continue
        self.catch_up()
        return look(self)

    def close(self) -> None:
        """Let go of the store and of what was noted about it."""
        super().close()
        shutil.rmtree(self._scratch, ignore_errors=True)
