"""Local processes that carry a mark in their environment, so that they are found again whoever started them.

A mark is read from the operating system: it survives our own end, and no process can lose it by accident.
"""

import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass

import psutil

COMMAND_ID = "SETPOINT_COMMAND_ID"
SUBJECT = "SETPOINT_SUBJECT"
HOME = "SETPOINT_HOME"
"""Which workspace's process it is: two of them on one machine may both have a service/web-1."""

KILL_WAIT_S = 2.0
"""How long the operating system may take to end what was killed."""
_POLL_S = 0.01


@dataclass(frozen=True, kw_only=True, slots=True)
class Marked:
    """A living process with its marks."""

    pid: int
    command_id: str
    leads: bool
    """Whether it leads a session, as what we start does: what it starts itself mostly does not."""
    created_s: float


def marked(marks: Mapping[str, str]) -> list[Marked]:
    """Every living process whose environment has all these marks, the oldest first. Blocking: walks all processes."""
    found = []
    for process in psutil.process_iter():
        one = _marked(process, marks)
        if one is not None:
            found.append(one)
    return sorted(found, key=lambda one: (one.created_s, one.pid))


def marked_one(pid: int, marks: Mapping[str, str]) -> Marked | None:
    """The process with this pid, if it lives and has all these marks."""
    try:
        return _marked(psutil.Process(pid), marks)
    except psutil.Error:
        return None


def end_marked(marks: Mapping[str, str], grace_s: float) -> int:
    """End every process with these marks: SIGTERM, and SIGKILL after the grace. Gives how many there were.

    Blocking. Raises TimeoutError when one outlives even that.
    """
    ending = marked(marks)
    _signal_all(ending, signal.SIGTERM)
    deadline_s = time.monotonic() + grace_s
    while _living(ending) and time.monotonic() < deadline_s:
        time.sleep(_POLL_S)
    deadline_s = time.monotonic() + KILL_WAIT_S
    # Walked again: they may have started others meanwhile.
    while (left := marked(marks)) or _living(ending):
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"process {(left or ending)[0].pid} outlives SIGKILL")
        _signal_all(left, signal.SIGKILL)
        time.sleep(_POLL_S)
    return len(ending)


def _marked(process: psutil.Process, marks: Mapping[str, str]) -> Marked | None:
    try:
        environ = process.environ()
        if any(environ.get(name) != value for name, value in marks.items()):
            return None
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return Marked(
            pid=process.pid,
            command_id=environ.get(COMMAND_ID, ""),
            leads=os.getsid(process.pid) == process.pid,
            created_s=process.create_time(),
        )
    except (psutil.Error, OSError):
        return None  # It has ended, or belongs to somebody else, whose processes are none of ours.


def _living(processes: list[Marked]) -> bool:
    return any(_lives(one.pid) for one in processes)


def _lives(pid: int) -> bool:
    try:
        process = psutil.Process(pid)
        # A process is a zombie as soon as its first thread has ended; the others may still hold its port.
        return bool(process.status() != psutil.STATUS_ZOMBIE or process.num_threads() > 1)
    except psutil.Error:
        return False


def _signal_all(processes: list[Marked], number: signal.Signals) -> None:
    for one in processes:
        try:
            os.kill(one.pid, number)
        except ProcessLookupError:
            continue  # It has ended by itself.
