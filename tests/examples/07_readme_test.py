"""The README's five minutes, typed as they stand there by somebody who has never seen this before."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PATIENCE_S = 60.0
_BLOCK = re.compile(r"^```\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def commands() -> list[list[str]]:
    """The commands of each block of the section, without what is said beside them."""
    section = (ROOT / "README.md").read_text().split("## Five minutes to an own loop")[1].split("\n## ")[0]
    return [[line.split("  #")[0].strip() for line in block.splitlines()] for block in _BLOCK.findall(section)]


class Newcomer:
    """Types commands, on a port that is free here."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as trial:
            trial.bind(("127.0.0.1", 0))
            self._port = trial.getsockname()[1]
        scripts = str(Path(sys.executable).parent)
        ours = {name: value for name, value in os.environ.items() if not name.startswith("SETPOINT_")}
        path = f"{scripts}{os.pathsep}{ours['PATH']}"
        self._env = {**ours, "PATH": path, "SETPOINT_LISTEN": f"127.0.0.1:{self._port}", "NO_COLOR": "1"}
        self.folder = folder

    def types(self, line: str) -> str:
        """One command; gives what it prints."""
        ran = subprocess.run(
            ["bash", "-c", self._here(line)], cwd=self.folder, env=self._env, capture_output=True, text=True, timeout=60
        )
        assert ran.returncode == 0, f"{line}\n{ran.stdout}\n{ran.stderr}"
        return ran.stdout

    def starts(self, line: str) -> "subprocess.Popen[str]":
        """A command that goes on, once it says that it serves."""
        running = subprocess.Popen(
            ["bash", "-c", f"exec {self._here(line)}"],
            cwd=self.folder,
            env=self._env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert running.stdout is not None
        for said in running.stdout:
            if f":{self._port}" in said:
                return running
        raise AssertionError(f"{line} ended with {running.wait()}")

    def until(self, line: str, wanted: str) -> str:
        """The same command again until it prints what it should: recording follows a moment later."""
        ends = time.monotonic() + PATIENCE_S
        while wanted not in (said := self.types(line)):
            assert time.monotonic() < ends, said
            time.sleep(0.2)
        return said

    def _here(self, line: str) -> str:
        return line.replace("127.0.0.1:7070", f"127.0.0.1:{self._port}")


@pytest.fixture
def newcomer(tmp_path: Path) -> Newcomer:
    return Newcomer(tmp_path)


@pytest.mark.timeout(240)
def test_the_five_minutes_lead_from_nothing_to_an_effect(newcomer: Newcomer) -> None:
    (init, check, up), (hot, decisions, done), (cool, explain) = commands()

    newcomer.types(init)
    assert newcomer.types(check).startswith("ok: ")
    running = newcomer.starts(up)
    try:
        newcomer.folder = newcomer.folder / "my-loop"
        newcomer.types(hot)
        listed = newcomer.until(decisions, "allow")
        assert "heat_guard" in listed
        assert "slow_down" in newcomer.until(done, "succeeded")
        newcomer.types(cool)
        decision_id = listed.splitlines()[1].split()[0]
        story = newcomer.until(explain.replace("ID", decision_id), "effective")
        running.send_signal(signal.SIGINT)
        assert running.wait(timeout=PATIENCE_S) == 0
    finally:
        running.kill()
        running.wait()
        assert running.stdout is not None
        running.stdout.close()

    assert "95" in story
    assert "it holds: rows.machine_health.celsius < 80.0" in story
