"""The incident demo, whole: as a user runs it, and as a user breaks it off."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

DEMO = [sys.executable, "-c", "from control_plane.cli.main import main; main()", "demo", "incident"]
PATIENCE_S = 100.0
INTERRUPTED = 130


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where the demo writes; after the test nothing may run that knows of it."""
    folder = tmp_path / "incident"
    yield folder
    for process in services_of(folder):
        process.kill()


def services_of(folder: Path) -> list[psutil.Process]:
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if str(folder / "starts.jsonl") in (process.info["cmdline"] or ())
    ]


def until(holds: Callable[[], bool]) -> None:
    """Look at the world until it is so: it sends no event."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline_s, "it did not become so in time"
        time.sleep(0.05)


def started(folder: Path) -> int:
    starts = folder / "starts.jsonl"
    return len(starts.read_text().splitlines()) if starts.exists() else 0


def test_real_faults_are_repaired_the_spike_is_left_alone_and_the_log_replays(folder: Path) -> None:
    ended = subprocess.run(
        [*DEMO, "--json", "--seed", "11", "--data", str(folder)], capture_output=True, text=True, timeout=PATIENCE_S
    )

    assert ended.returncode == 0, ended.stdout + ended.stderr
    card = json.loads(ended.stdout)
    assert ended.stdout.count("\n") == 1, "exactly one object, and nothing else"
    assert card["ok"], card
    assert sorted(fault["kind"] for fault in card["faults"]) == ["crash", "leak", "slow"]
    assert all(fault["repaired_s"] > fault["detected_s"] > 0 for fault in card["faults"])
    assert [found["commands"] for found in card["left_alone"]] == [0]
    assert (card["duplicates"], card["lost"], card["replay"]["equal"]) == (0, 0, True)
    assert card["outcomes"] == {"succeeded": card["commands"]}
    assert started(folder) == 4 + card["commands"], "every command is one start, and every start one command"
    assert services_of(folder) == []
    assert (folder / "setpoint.yaml").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_no_service_outlives_a_demo_that_is_broken_off(folder: Path, number: signal.Signals) -> None:
    demo = subprocess.Popen([*DEMO, "--data", str(folder)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until(lambda: started(folder) >= 4)

    demo.send_signal(number)
    _, complaint = demo.communicate(timeout=PATIENCE_S)

    assert demo.returncode == INTERRUPTED
    assert complaint == "The demo was interrupted; its services were ended.\n"
    assert services_of(folder) == []


def test_no_service_outlives_a_demo_that_is_killed(folder: Path) -> None:
    demo = subprocess.Popen([*DEMO, "--data", str(folder)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until(lambda: started(folder) >= 4)

    demo.kill()
    demo.wait(timeout=PATIENCE_S)

    until(lambda: services_of(folder) == [])


def test_a_folder_that_is_not_empty_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")

    ended = subprocess.run([*DEMO, "--data", str(tmp_path)], capture_output=True, text=True, timeout=PATIENCE_S)

    assert ended.returncode == 2
    assert "the folder is not empty. Nothing was written." in ended.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_there_are_only_so_many_demos() -> None:
    ended = subprocess.run([*DEMO[:-1], "incidnt"], capture_output=True, text=True, timeout=PATIENCE_S)

    assert ended.returncode == 2
    assert ended.stderr == "There is no demo incidnt. Choose one of: incident, orders, llm.\n"
