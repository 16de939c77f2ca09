"""Nobody waits for a library that he does not use: what a command loads, seen at its end.

A start is mostly loading, so what slips into one is paid for by every start from then on.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from control_plane.cli.exits import CANNOT_REACH
from tests.guard.tree import ROOT

READY_TIMEOUT_S = 60
SERVICE_ONLY = {"aiokafka", "alembic", "faust", "fastapi", "httpx", "rocksdict", "sqlalchemy", "uvicorn"}
NEVER_ON_ONE_MACHINE = {
    "aiohttp": "Faust's HTTP client",
    "alembic": "migrations of a database that is new, or up to date",
    "cel.cli": "CEL's command line",
    "sqlalchemy.dialects.postgresql": "another database",
    "sqlalchemy.ext.asyncio": "what other databases are reached by",
    "sqlalchemy.orm": "what comes with that",
}

_PROGRAM = """
import atexit, json, os, sys
from pathlib import Path

atexit.register(lambda: Path(os.environ["LOADED"]).write_text(json.dumps(sorted(sys.modules))))
from control_plane.cli.main import main

main()
"""


def started(folder: Path, *arguments: str, **options: Any) -> subprocess.Popen[str]:
    environment = {**os.environ, "LOADED": str(folder / "loaded.json"), "SETPOINT_LISTEN": "127.0.0.1:0"}
    call = [sys.executable, "-c", _PROGRAM, *arguments]
    return subprocess.Popen(call, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, **options)


def loaded_in(folder: Path) -> set[str]:
    return set(json.loads((folder / "loaded.json").read_text()))


def loaded_by(folder: Path, *arguments: str, code: int = 0) -> set[str]:
    """What a command has loaded at its end."""
    command = started(folder, *arguments)
    said, _ = command.communicate(timeout=READY_TIMEOUT_S)
    assert command.returncode == code, said
    return loaded_in(folder)


def loaded_until_ready(folder: Path, *arguments: str) -> set[str]:
    """What a service has loaded once it works."""
    service = started(folder, *arguments, "--json", "--log-level", "error")
    try:
        assert service.stdout is not None
        assert json.loads(service.stdout.readline())["roles"]
        service.send_signal(signal.SIGTERM)
        assert service.wait(READY_TIMEOUT_S) == 0
    finally:
        service.kill()
        service.communicate()
    return loaded_in(folder)


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    assert "control_plane.workspace.creating" in loaded_by(tmp_path, "init", str(tmp_path / "loop"))
    return tmp_path / "loop"


@pytest.mark.parametrize("arguments", [["--help"], ["schema"], ["schema", "executor/http"], ["completion", "bash"]])
def test_who_asks_for_help_or_a_schema_waits_for_no_service(tmp_path: Path, arguments: list[str]) -> None:
    assert not SERVICE_ONLY & loaded_by(tmp_path, *arguments)


@pytest.mark.parametrize("arguments", [["check"], ["config", "show", "-w"]])
def test_who_checks_a_workspace_waits_for_no_service(tmp_path: Path, workspace: Path, arguments: list[str]) -> None:
    assert not SERVICE_ONLY & loaded_by(tmp_path, *arguments, str(workspace))


def test_who_asks_a_service_waits_for_an_http_client_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SETPOINT_API_KEY", "a-key-that-nobody-has")

    loaded = loaded_by(tmp_path, "decisions", "list", "--url", "http://127.0.0.1:1", code=CANNOT_REACH)

    assert SERVICE_ONLY & loaded == {"httpx"}


def test_a_service_on_one_machine_loads_only_what_it_uses(tmp_path: Path, workspace: Path) -> None:
    loaded = loaded_until_ready(tmp_path, "up", str(workspace))

    assert {"faust", "fastapi", "sqlalchemy"} <= loaded, "the names that this law forbids would be found in no start"
    assert not {module: use for module, use in NEVER_ON_ONE_MACHINE.items() if module in loaded}


def test_a_process_that_only_folds_events_loads_no_database_and_no_rest(tmp_path: Path, workspace: Path) -> None:
    loaded = loaded_until_ready(tmp_path, "worker", str(workspace), "--role", "loop")

    assert "faust" in loaded
    assert not {"fastapi", "sqlalchemy", "uvicorn"} & loaded
