"""Three brokers, two of three copies for each record: one broker may die, two stop everything and lose nothing."""

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from control_plane.adapters.faust import topic_findings
from tests.real_parts import PROGRAMS, free_port
from tests.workers.parcels import Depot, write_workspace
from tests.workers.processes import Crew, post, scan, until_ready

pytestmark = [pytest.mark.kafka, pytest.mark.kills, pytest.mark.timeout(240)]

STARTED_WITHIN_S = 120
RECOVERED_WITHIN_S = 90.0


@dataclass
class Cluster:
    """Three brokers on this machine."""

    home: Path
    port: int

    @property
    def servers(self) -> str:
        return ",".join(f"127.0.0.1:{self.port + 2 * n}" for n in range(3))

    def start(self) -> None:
        """Start those that do not run."""
        self._call("start", self.home, "--port", str(self.port), "--brokers", "3")

    def kill(self, *brokers: int) -> None:
        for broker in brokers:
            self._call("kill", self.home / str(broker))

    def end(self) -> None:
        self._call("kill", self.home)

    def _call(self, command: str, home: Path, *options: str) -> None:
        call = [sys.executable, str(PROGRAMS / "kafka.py"), command, str(home), *options]
        done = subprocess.run(call, capture_output=True, text=True, timeout=STARTED_WITHIN_S)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path / "kafka", free_port())
    cluster.start()
    yield cluster
    cluster.end()


def test_one_broker_may_die_and_two_stop_everything_until_they_are_back(cluster: Cluster, tmp_path: Path) -> None:
    url = f"kafka://{cluster.servers}?replication=3"
    with Depot() as depot:
        crew = Crew(write_workspace(tmp_path / "workspace", depot.port), url, tmp_path / "home")
        try:
            crew.start_all(["loop", "executors", "recorder", "api"])
            with crew.client() as client:
                until_ready(client)
                assert topic_findings(url, partitions=2) == (), "made with two copies that must have a record"
                _ship(client, depot, range(10))

                cluster.kill(2)
                _ship(client, depot, range(10, 20))

                cluster.kill(3)
                assert not _taken(client, 20), "nobody acknowledges what one broker alone could lose"

                cluster.start()
                _until_taken(client, crew, range(20, 30))
                depot.until({f"parcel/{n}" for n in range(30)}, RECOVERED_WITHIN_S)
        finally:
            crew.end()

    assert max(depot.taken.values()) == 1, "nothing was done twice"
    assert set(depot.subjects) == {f"parcel/{n}" for n in range(30)}


def _ship(client: httpx.Client, depot: Depot, numbers: range) -> None:
    until = time.monotonic() + RECOVERED_WITHIN_S
    for number in numbers:
        while not _taken(client, number):
            assert time.monotonic() < until, f"scan {number} was not taken"
    depot.until({f"parcel/{n}" for n in numbers}, RECOVERED_WITHIN_S)


def _taken(client: httpx.Client, number: int) -> bool:
    try:
        post(client, [scan(number)])
    except (httpx.HTTPError, AssertionError):
        return False
    return True


def _until_taken(client: httpx.Client, crew: Crew, numbers: range) -> None:
    """Workers that gave up are started again, as whoever runs them does."""
    until = time.monotonic() + RECOVERED_WITHIN_S
    for number in numbers:
        while not _taken(client, number):
            crew.restart_ended()
            assert time.monotonic() < until, f"scan {number} was not taken"
            time.sleep(0.2)
    crew.restart_ended()
