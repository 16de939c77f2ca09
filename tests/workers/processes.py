"""Workers as they run in production: one process per role, started, asked and ended from outside."""

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.real_parts import free_port

KEY = "workers-under-test-0001"
STARTED_WITHIN_S = 60.0
STOPPED_WITHIN_S = 10.0
"""A worker that is told to stop has this long; Kubernetes gives 30 s by default."""

POLL_S = 0.02


@dataclass
class Worker:
    """One process. What it says stands in `said`, what it logs in `log`."""

    role: str
    name: str
    process: subprocess.Popen[bytes]
    said: Path
    log: Path

    @property
    def has_started(self) -> bool:
        """Whether it has said what it runs."""
        return self.said.read_text().endswith("\n")

    def until_started(self) -> None:
        """Wait until it says what it runs."""
        until = time.monotonic() + STARTED_WITHIN_S
        while not self.has_started:
            assert self.process.poll() is None, f"{self.role} ended with {self.process.returncode}:\n{self.logged()}"
            if time.monotonic() > until:
                # It says where it stands as it ends.
                self.process.send_signal(signal.SIGABRT)
                self.process.wait()
                raise AssertionError(f"{self.role} does not start:\n{self.logged()}")
            time.sleep(POLL_S)

    def stop(self) -> int:
        """Tell it to stop; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOPPED_WITHIN_S)

    def kill(self) -> None:
        """As the power goes."""
        self.process.kill()
        self.process.wait()

    def logged(self) -> str:
        """All that it has logged."""
        return self.log.read_text(errors="replace")


@dataclass
class Crew:
    """The workers of one workspace on one log. Every worker has a data directory of its own, but for the databases."""

    workspace: Path
    backbone: str
    home: Path
    environ: Mapping[str, str] = field(default_factory=dict)
    workers: list[Worker] = field(default_factory=list)
    key: str = KEY
    port: int = field(default_factory=free_port)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @property
    def url(self) -> str:
        """Where REST is, once the api works."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def store(self) -> str:
        """The database that all share."""
        return f"sqlite+aiosqlite:///{self.home / 'audit.db'}"

    def start(self, role: str, *options: str, name: str = "", workspace: Path | None = None) -> Worker:
        """A worker of a role, in a process of its own; it need not work yet."""
        # Never a name again: its folder is the worker's own, also where one of them has left.
        name = name or f"{role}-{next(self._numbers)}"
        said, log = self.home / f"{name}.said", self.home / f"{name}.log"
        self.home.mkdir(parents=True, exist_ok=True)
        with said.open("wb") as out, log.open("ab") as errors:
            process = subprocess.Popen(
                [*SETPOINT, "worker", "--role", role, "--json", *options, str(workspace or self.workspace)],
                env={**os.environ, "PYTHONFAULTHANDLER": "1", **self._settings(name), **self.environ},
                stdout=out,
                stderr=errors,
            )
        worker = Worker(role=role, name=name, process=process, said=said, log=log)
        self.workers.append(worker)
        return worker

    def start_all(self, roles: Sequence[str]) -> dict[str, Worker]:
        """A worker of each role, started in this order and waited for together."""
        started = {role: self.start(role) for role in roles}
        for worker in started.values():
            worker.until_started()
        return started

    def restart_ended(self) -> list[Worker]:
        """Start those again that have ended, as whoever runs them does; those that ended."""
        ended = [worker for worker in self.workers if worker.process.poll() is not None]
        for worker in ended:
            self.workers.remove(worker)
            self.start(worker.role, name=worker.name)
        return ended

    def apply(self, workspace: Path) -> str:
        """Put another folder's controls in force through REST; what the command says."""
        call = [*SETPOINT, "apply", str(workspace), "--url", self.url]
        environ = {**os.environ, "SETPOINT_API_KEY": self.key}
        done = subprocess.run(call, env=environ, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def end(self) -> None:
        """Nobody is left, whatever became of the test."""
        for worker in self.workers:
            worker.process.kill()
            worker.process.wait()

    def client(self) -> httpx.Client:
        """REST, as a stranger speaks it."""
        return httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {self.key}"}, timeout=20.0)

    def _settings(self, name: str) -> dict[str, str]:
        return {
            "SETPOINT_BACKBONE": self.backbone,
            "SETPOINT_LISTEN": f"127.0.0.1:{self.port}",
            "SETPOINT_API_KEY": self.key,
            "SETPOINT_DATA_DIR": str(self.home / name),
            "SETPOINT_STORE": self.store,
            "SETPOINT_PARTITIONS": "2",
        }


SETPOINT = (sys.executable, "-m", "control_plane.cli.main")


def scan(number: int, *, ship: bool = True) -> dict[str, Any]:
    """An event that has a parcel shipped."""
    return {
        "specversion": "1.0",
        "id": f"scan-{number}",
        "source": "workers-test",
        "type": "parcel.scanned",
        "subject": f"parcel/{number}",
        "data": {"ship": ship},
    }


def post(client: httpx.Client, events: Sequence[Mapping[str, Any]]) -> None:
    """Send events; returns once they are acknowledged."""
    answer = client.post(
        "/v1/events", json=list(events), headers={"Content-Type": "application/cloudevents-batch+json"}
    )
    assert answer.status_code == 202, f"{answer.status_code} {answer.text}"


def until_ready(client: httpx.Client, timeout_s: float = 20.0) -> None:
    """Until the service says that it does its work."""
    until = time.monotonic() + timeout_s
    while client.get("/health/ready").status_code != 200:
        assert time.monotonic() < until, client.get("/health/ready").text
        time.sleep(0.05)
