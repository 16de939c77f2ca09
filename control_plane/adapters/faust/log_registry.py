"""One open EmbeddedLog per path in this process, shared by everything in it that uses the path.

The log's file lock keeps other processes out; within the process this registry keeps a second opening from failing.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from control_plane.adapters.embedded_log import Durability, EmbeddedLog
from control_plane.errors import InvalidSettings


@dataclass(slots=True)
class _Shared:
    path: Path
    log: EmbeddedLog
    durability: str
    users: int = 0
    groups: set[str] = field(default_factory=set)


_open: dict[Path, _Shared] = {}


def acquire(path: Path, durability: str) -> EmbeddedLog:
    """The log at a path, opened if it is not yet. Raises as EmbeddedLog.open, and InvalidSettings."""
    if durability not in ("flush", "fsync"):
        raise InvalidSettings(f"durability {durability!r} is not known. Nothing was opened. Use flush or fsync.")
    path = path.resolve()
    shared = _open.get(path)
    if shared is None:
        log = EmbeddedLog.open(path, durability=cast(Durability, durability))
        shared = _open[path] = _Shared(path, log, durability)
    elif shared.durability != durability:
        raise InvalidSettings(
            f"{path} is open with durability {shared.durability!r}. It was not opened with {durability!r} as well. "
            "Use one of them."
        )
    shared.users += 1
    return shared.log


def join(log: EmbeddedLog, group: str) -> None:
    """Say that a group has its one member. Raises InvalidSettings when it has one already."""
    groups = _shared(log).groups
    if group in groups:
        raise InvalidSettings(
            f"group {group!r} was joined on this log in this process already. Nothing was started. Join it once."
        )
    groups.add(group)


def leave(log: EmbeddedLog, group: str) -> None:
    _shared(log).groups.discard(group)


def release(log: EmbeddedLog) -> None:
    """Closes the log when nobody else in the process uses it."""
    shared = _shared(log)
    shared.users -= 1
    if shared.users == 0:
        del _open[shared.path]
        log.close()


def _shared(log: EmbeddedLog) -> _Shared:
    return next(shared for shared in _open.values() if shared.log is log)
