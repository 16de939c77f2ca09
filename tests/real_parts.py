"""Real parts for tests: a Kafka, an OPA, a PostgreSQL, a toxiproxy, each had once for a whole run.

A test says by its mark which it needs. A part that the environment names is used and left alone; otherwise one is
started for the run and stopped after it (`services/`). What cannot be had says why in `absent`.
"""

import contextlib
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

PROGRAMS = Path(__file__).resolve().parent.parent / "services"
CACHE = PROGRAMS.parent / ".services"
START_TIMEOUT_S = 900
"""The first time, Maven fetches 45 MB and Go compiles OPA."""
PORTS = (20_000, 32_000)
PORTS_OF_A_PART_MAX = 6
KAFKA_ADDRESS = os.environ.get("KAFKA_FOR_TESTS", "127.0.0.1:19092")


class Part:
    """One part. A test that has its mark may use its fixtures."""

    flags: Sequence[str] = ()
    """What goes to the program itself."""

    def __init__(self, mark: str, title: str, *fixtures: str) -> None:
        self.mark = mark
        self.title = title
        self.fixtures = fixtures
        self.address = ""
        """Where it is, once `ensure` has been called."""
        self.absent = ""
        self._home: str | None = None

    def built(self) -> bool:
        """Whether having it takes seconds only."""
        return (CACHE / self.mark).exists()

    def ensure(self) -> None:
        """Have it, or say why not."""
        self.address = os.environ.get(f"{self.mark.upper()}_FOR_TESTS", "")
        if not self.address:
            self._start(free_port())

    def release(self) -> None:
        """Stop what this run has started."""
        if self._home is not None:
            self._call("stop", self._home)
            shutil.rmtree(self._home, ignore_errors=True)
            self._home = None

    def address_at(self, port: int) -> str:
        """What the fixture gives for a server of our own."""
        return f"http://127.0.0.1:{port}"

    @contextlib.contextmanager
    def own(self) -> Iterator["OwnServer"]:
        """Another server of this part, which a test may kill."""
        with tempfile.TemporaryDirectory(prefix=f"setpoint-{self.mark}-") as home:
            mine = OwnServer(self, home, free_port())
            mine.start()
            try:
                yield mine
            finally:
                mine.kill()

    def call(self, *words: str) -> None:
        """Run its program, which must do what it is asked."""
        done = self._call(*words)
        assert done.returncode == 0, done.stderr

    def _start(self, port: int) -> None:
        self._home = tempfile.mkdtemp(prefix=f"setpoint-{self.mark}-")
        started = self._call("start", self._home, "--port", str(port), "--", *self.flags)
        if started.returncode == 0:
            self.address = self.address_at(port)
            return
        self.absent = started.stderr.strip().splitlines()[-1] if started.stderr.strip() else f"{self.title} left mute"
        shutil.rmtree(self._home, ignore_errors=True)
        self._home = None

    def _call(self, *words: str) -> subprocess.CompletedProcess[str]:
        call = [sys.executable, str(PROGRAMS / f"{self.mark}.py"), *words]
        return subprocess.run(call, capture_output=True, text=True, timeout=START_TIMEOUT_S, check=False)


class OwnServer:
    """A server of a test's own. It may be killed and started again; what it holds is kept."""

    def __init__(self, part: Part, home: str, port: int) -> None:
        self.port = port
        self.address = part.address_at(port)
        self._part = part
        self._home = home

    def start(self, *flags: str) -> None:
        """Have it run; the same place, the same data."""
        self._part.call("start", self._home, "--port", str(self.port), "--", *self._part.flags, *flags)

    def kill(self) -> None:
        """End it as SIGKILL does, all of its processes."""
        self._part.call("kill", self._home)

    @property
    def pid(self) -> int:
        """Its first process."""
        pid: int = json.loads((Path(self._home) / "server.json").read_text())["pid"]
        return pid


class Kafka(Part):
    """A broker is slow to start: one that answers already (`make services`) is used."""

    def ensure(self) -> None:
        self.address = KAFKA_ADDRESS
        host, _, port = KAFKA_ADDRESS.rpartition(":")
        if answers(host, int(port)):
            return
        if host not in {"127.0.0.1", "localhost"}:
            self.absent = f"no Kafka answers at {KAFKA_ADDRESS} (KAFKA_FOR_TESTS)"
            return
        self._start(int(port))

    def address_at(self, port: int) -> str:
        return f"127.0.0.1:{port}"


class Postgres(Part):
    """A server with a user who may make databases: each test makes its own.

    It does not wait for the disk: what it said is safe outlives its own death, and no test cuts the power.
    """

    flags = ("-c", "fsync=off", "-c", "full_page_writes=off")

    def address_at(self, port: int) -> str:
        return f"postgresql+asyncpg://setpoint@127.0.0.1:{port}/setpoint"


class Opa(Part):
    """The program: tests start their own servers of it, each with its own settings, through `services/opa.py`."""

    def _start(self, port: int) -> None:
        fetched = self._call("fetch")
        if fetched.returncode == 0:
            self.address = fetched.stdout.strip().splitlines()[-1]
        else:
            self.absent = fetched.stderr.strip()


PARTS = (
    Kafka("kafka", "Apache Kafka", "kafka_address"),
    Opa("opa", "OPA", "opa_program", "opa_url"),
    Postgres("postgres", "PostgreSQL", "postgres_url"),
    Part("toxiproxy", "toxiproxy", "toxiproxy_url"),
)
KAFKA, OPA, POSTGRES, TOXIPROXY = PARTS


def free_port() -> int:
    """A port that nobody listens on, nor on those after it that a broker, or three of them, take as well. It lies below
    those that systems give to outgoing connections, so that none of these takes it before we do."""
    while True:
        port = random.randrange(*PORTS)
        with contextlib.ExitStack() as held:
            try:
                for number in range(port, port + PORTS_OF_A_PART_MAX):
                    probe = held.enter_context(socket.socket())
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind(("127.0.0.1", number))
            except OSError:
                continue
            return port


def answers(host: str, port: int) -> bool:
    """Whether somebody listens."""
    try:
        with socket.create_connection((host, port), timeout=2.0):
            return True
    except OSError:
        return False
