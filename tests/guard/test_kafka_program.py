"""`services/kafka.py`: a broker that starts, is killed, comes back with what it held, and stops."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.guard.tree import ROOT
from tests.real_parts import free_port

PROGRAM = ROOT / "services" / "kafka.py"


def kafka(command: str, home: Path, *options: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    call = [sys.executable, str(PROGRAM), command, str(home), *options]
    environment = None if path is None else {"PATH": path}
    return subprocess.run(call, env=environment, capture_output=True, text=True, timeout=100, check=False)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "broker"
    kafka("kill", tmp_path / "broker")


@pytest.mark.kafka
def test_a_second_broker_starts_is_killed_comes_back_and_stops(home: Path) -> None:
    port = free_port()

    started = kafka("start", home, "--port", str(port))
    assert started.returncode == 0, started.stderr
    assert f"takes requests on 127.0.0.1:{port}" in started.stdout
    identity = (home / "log" / "meta.properties").read_text()

    assert "already runs" in kafka("start", home, "--port", str(port)).stdout
    assert kafka("status", home).returncode == 0
    assert "was killed" in kafka("kill", home).stdout
    assert kafka("status", home).returncode == 1

    assert kafka("start", home, "--port", str(port)).returncode == 0
    assert (home / "log" / "meta.properties").read_text() == identity
    assert "was stopped" in kafka("stop", home).stdout
    assert f"no Kafka of {home} runs" in kafka("stop", home).stdout


@pytest.mark.kafka
def test_a_port_that_is_taken_is_refused_before_anything_is_written(home: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        refused = kafka("start", home, "--port", str(port))

    assert refused.returncode == 1
    assert f"port {port} is taken" in refused.stderr
    assert "--port" in refused.stderr
    assert not home.exists()


def test_a_machine_without_java_is_told_what_to_install(home: Path, tmp_path: Path) -> None:
    refused = kafka("start", home, path=str(tmp_path))

    assert refused.returncode == 1
    assert "there is no java on this machine" in refused.stderr
    assert "default-jre-headless" in refused.stderr
    assert "Nothing was started" in refused.stderr


def test_a_note_of_a_process_that_is_no_longer_ours_kills_nobody(home: Path) -> None:
    home.mkdir()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as stranger:
        (home / "server.json").write_text(f'{{"pid": {stranger.pid}, "port": 1}}')

        assert "no Kafka" in kafka("kill", home).stdout
        assert stranger.poll() is None
        stranger.kill()
