"""The programs under `services/`: each part starts, is killed, comes back with what it held, and stops."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from tests.guard.tree import ROOT
from tests.real_parts import free_port

PARTS = [pytest.param(name, marks=getattr(pytest.mark, name)) for name in ("opa", "postgres", "toxiproxy")]
STANDS_IN = {"opa": "OPA", "postgres": "PostgreSQL", "toxiproxy": "toxiproxy"}


def called(part: str, *words: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    call = [sys.executable, str(ROOT / "services" / f"{part}.py"), *words]
    environment = None if path is None else {"PATH": path}
    return subprocess.run(call, env=environment, capture_output=True, text=True, timeout=100, check=False)


@pytest.fixture
def home() -> Iterator[str]:
    """Not under pytest's own folder: that is root's alone, and PostgreSQL does not run as root."""
    with tempfile.TemporaryDirectory(prefix="setpoint-service-") as folder:
        yield folder
        if (Path(folder) / "server.json").exists():  # A test that failed has left something running.
            for part in STANDS_IN:
                called(part, "kill", folder)


@pytest.mark.parametrize("part", PARTS)
def test_a_part_starts_is_killed_comes_back_and_stops(part: str, home: str) -> None:
    port = str(free_port())

    started = called(part, "start", home, "--port", port)
    assert started.returncode == 0, started.stderr
    assert f"{STANDS_IN[part]} takes requests on" in started.stdout

    assert "already runs" in called(part, "start", home, "--port", port).stdout
    assert "Nothing was started" in called(part, "start", home, "--port", "1").stderr
    assert called(part, "status", home).returncode == 0
    assert "was killed" in called(part, "kill", home).stdout
    assert called(part, "status", home).returncode == 1

    assert called(part, "start", home, "--port", port).returncode == 0
    assert "was stopped" in called(part, "stop", home).stdout
    assert f"no {STANDS_IN[part]} of {home} runs" in called(part, "stop", home).stdout


@pytest.mark.postgres
async def test_what_was_committed_outlives_a_kill(home: str) -> None:
    port = free_port()
    url = f"postgresql://setpoint@127.0.0.1:{port}/setpoint"
    called("postgres", "start", home, "--port", str(port))
    writing = await asyncpg.connect(url)
    await writing.execute("CREATE TABLE parcels (n INT); INSERT INTO parcels VALUES (7)")

    called("postgres", "kill", home)
    called("postgres", "start", home, "--port", str(port))

    reading = await asyncpg.connect(url)
    assert await reading.fetchval("SELECT n FROM parcels") == 7
    await reading.close()
    writing.terminate()


@pytest.mark.postgres
def test_what_stands_behind_two_dashes_goes_to_the_program(home: str) -> None:
    refused = called("postgres", "start", home, "--port", str(free_port()), "--", "-c", "no_such_setting=1")

    assert refused.returncode == 1
    assert "no_such_setting" in refused.stderr
    assert f"See {home}/server.out" in refused.stderr


WITHOUT_GO = """
import sys
from pathlib import Path
import golang, opa, standing

golang.GO_FOLDER, golang.CACHE = "", Path(sys.argv.pop())
standing.main(opa.PART)
"""


def test_a_machine_without_go_is_told_what_to_install(home: str, tmp_path: Path) -> None:
    call = [sys.executable, "-c", WITHOUT_GO, "start", home, str(tmp_path)]
    refused = subprocess.run(
        call, cwd=ROOT / "services", env={"PATH": ""}, capture_output=True, text=True, timeout=60, check=False
    )

    assert refused.returncode == 1
    assert "there is no go to build it" in refused.stderr
    assert "apt-get install golang-go" in refused.stderr
    assert list(Path(home).iterdir()) == []
