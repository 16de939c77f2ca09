"""What a program under `services/` asks of the machine it runs on. Only the standard library."""

import contextlib
import fcntl
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

CACHE = Path(__file__).resolve().parent.parent / ".services"
"""Where what was built or fetched is kept."""


class NotDone(Exception):
    """What happened, what was not done, and the cure."""


@contextlib.contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """One process at a time, so that two that start at once do not write into each other's folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "fetch.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def check_free(port: int) -> None:
    """Raises NotDone when somebody listens on a port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as problem:
            raise NotDone(
                f"port {port} is taken ({problem}). Nothing was started. Choose another with --port."
            ) from problem


def http_ok(port: int, path: str) -> bool:
    """Whether a GET on this machine is answered with 200."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2.0) as connection:
            connection.sendall(f"GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n".encode())
            return b" 200 " in connection.recv(64).partition(b"\r\n")[0]
    except OSError:
        return False


def arguments_of(pid: int) -> list[str]:
    """How a process was called; empty when there is none. A zombie has none either."""
    if Path("/proc/self/cmdline").exists():
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
        except (FileNotFoundError, ProcessLookupError):
            return []
    return subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True).stdout.split()
