"""What is remembered of supervised processes: who was started last, by which command, and where its output goes.

The folder is a help for finding processes; the truth is in their environments. All calls block.
"""

import os
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

OUTPUT_BYTES_MAX = 10 * 1024 * 1024
"""A longer output is put aside when the process is started again; the one before it is dropped."""

_running: "list[subprocess.Popen[bytes]]" = []
"""What we have started and not yet seen end: it must not be forgotten, or it would stay a zombie."""
_running_lock = threading.Lock()


@dataclass(frozen=True, kw_only=True, slots=True)
class Spec:
    """One process, described."""

    name: str
    subject: str
    argv: list[str]
    cwd: Path
    env: dict[str, str]
    port: int | None


class LastStart(Struct, frozen=True, kw_only=True):
    """What a state file says."""

    pid: int
    command_id: str
    stopped: bool = False


@dataclass(frozen=True, slots=True)
class Spawned:
    """A process of ours that was just started."""

    process: "subprocess.Popen[bytes]"

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def exit_code(self) -> int | None:
        """None while it runs."""
        return self.process.poll()


class StateFolder:
    """A file for each process, and a file for its output."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def make(self) -> None:
        """Have the folder there."""
        self.folder.mkdir(parents=True, exist_ok=True)

    def last(self, spec: Spec) -> LastStart | None:
        """What was started last, if anything."""
        _reap()
        try:
            return msgspec.json.decode((self.folder / f"{spec.name}.json").read_bytes(), type=LastStart)
        except (FileNotFoundError, msgspec.DecodeError):
            return None  # Half a file, after a full disk: the processes themselves still say who they are.

    def stopped(self, spec: Spec, command_id: str) -> None:
        """Remember that it was stopped on purpose."""
        self._write(spec, LastStart(pid=0, command_id=command_id, stopped=True))

    def spawn(self, spec: Spec, marks: dict[str, str]) -> Spawned:
        """Start it in a session of its own. Raises OSError."""
        _reap()
        with self._output(spec) as output:
            process = subprocess.Popen(
                spec.argv,
                cwd=spec.cwd,
                env={**spec.env, **marks},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        with _running_lock:
            _running.append(process)
        self._write(spec, LastStart(pid=process.pid, command_id=marks.get("SETPOINT_COMMAND_ID", "")))
        return Spawned(process)

    def _output(self, spec: Spec) -> Any:
        path = self.folder / f"{spec.name}.log"
        if path.exists() and path.stat().st_size > OUTPUT_BYTES_MAX:
            path.replace(path.with_suffix(".log.1"))
        return path.open("ab")

    def _write(self, spec: Spec, state: LastStart) -> None:
        path = self.folder / f"{spec.name}.json"
        beside = path.with_suffix(f".{os.getpid()}.tmp")
        beside.write_bytes(msgspec.json.encode(state))
        beside.replace(path)


def _reap() -> None:
    with _running_lock:
        _running[:] = [process for process in _running if process.poll() is None]
