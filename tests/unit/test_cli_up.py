"""A newcomer's way, with real processes: init, check, up, an event in, a decision out, stop, and go on where it was."""

import json
import logging
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli_world import process, setpoint

START_S_MAX = 60.0
HOT = {"specversion": "1.0", "id": "e-1", "source": "probe", "type": "machine.measured", "subject": "machine/m1"}


def ended(running: "subprocess.Popen[str]") -> tuple[int, str, str]:
    said, complained = running.communicate(timeout=START_S_MAX)
    return running.returncode, said, complained


@contextmanager
def up(workspace: Path, *options: str) -> Iterator[tuple["subprocess.Popen[str]", dict[str, Any]]]:
    """A service that runs, and what it said when it had started; killed if the test did not end it."""
    running = process("up", str(workspace), "--listen", "127.0.0.1:0", "--json", *options)
    try:
        assert running.stdout is not None
        line = running.stdout.readline()
        assert line, ended(running)
        yield running, json.loads(line)
    finally:
        if running.poll() is None:
            running.kill()
            running.communicate()


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "my-loop"
    assert setpoint("init", str(folder)).exit_code == 0
    return folder


def decisions(url: str, workspace: Path, wanted: int) -> list[Any]:
    """The decisions, once there are so many: recording follows a moment later."""
    ends = time.monotonic() + START_S_MAX
    while True:
        listed = setpoint("decisions", "list", "--json", "--url", url, "-w", str(workspace))
        assert listed.exit_code == 0, listed.stderr
        found = json.loads(listed.stdout)
        settled = [item for item in found if item["verdict"]]
        if len(settled) >= wanted:
            return settled
        assert time.monotonic() < ends, found
        time.sleep(0.05)


@pytest.mark.timeout(300)
def test_a_service_starts_decides_is_alone_stops_and_goes_on_where_it_was(workspace: Path) -> None:
    here = ["-w", str(workspace)]

    def heat(url: str, subject: str) -> None:
        event = json.dumps(HOT | {"subject": subject, "data": {"celsius": 95.0}})
        assert setpoint("events", "send", "-", "--url", url, *here, input=event).exit_code == 0

    with up(workspace) as (running, told):
        url = told["url"]
        heat(url, "machine/m1")
        [decision] = decisions(url, workspace, 1)
        assert decision["verdict"]["answer"] == "allow"
        shown = setpoint("decisions", "show", decision["id"], "--json", "--url", url, *here)
        assert shown.exit_code == 0, shown.stderr
        assert json.loads(shown.stdout)["command"]["intent"] == "slow_down"

        code, _, complained = ended(process("up", str(workspace), "--listen", "127.0.0.1:0"))
        assert code == 1
        assert "another process uses" in complained
        assert "Traceback" not in complained

        info = setpoint("log", "info", *here).stdout
        assert "decisions.v1" in info
        equal = setpoint("replay", "--data", str(workspace / "data"))
        assert (equal.exit_code, equal.stdout.splitlines()[-1]) == (0, "equal")

        running.send_signal(signal.SIGTERM)
        assert ended(running)[0] == 0

    with up(workspace) as (running, told):
        heat(told["url"], "machine/m1")
        heat(told["url"], "machine/m2")
        again = decisions(told["url"], workspace, 2)
        assert sorted(item["subject"] for item in again) == ["machine/m1", "machine/m2"], (
            "the same event is folded once"
        )
        running.send_signal(signal.SIGINT)
        assert ended(running)[0] == 0


@pytest.fixture
def _logging_kept() -> Iterator[None]:
    """A service sets up logging for its process; here others go on in it."""
    loggers = [logging.getLogger(name) for name in (None, "control_plane", "agents", "state")]
    before = [(logger, logger.handlers[:], logger.level) for logger in loggers]
    yield
    for logger, handlers, level in before:
        logger.handlers, logger.level = handlers, level


@pytest.mark.usefixtures("_logging_kept")
@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["up", "EMPTY"], 1, "is no workspace"),
        (["up", "NOWHERE"], 2, "is no folder"),
        (["up", "HERE", "--listen", "0.0.0.0:0"], 2, "SETPOINT_API_KEY is not set"),
        (["up", "HERE", "--durability", "none"], 2, "durability: 'none' (from --durability)"),
        (["up", "HERE", "--data-dir", "a-file"], 2, "a-file cannot be written"),
        (["up", "HERE", "--log-level", "loud"], 2, "is no log level"),
        (["worker", "HERE", "--role", "boss"], 2, "there is no role 'boss'"),
        (["worker", "HERE"], 2, "--role"),
    ],
)
def test_what_is_wrong_before_the_start_is_one_message_and_leaves_nothing(
    workspace: Path, tmp_path: Path, arguments: list[str], code: int, said: str
) -> None:
    (workspace / "a-file").touch()
    (tmp_path / "empty").mkdir()
    places = {"EMPTY": tmp_path / "empty", "NOWHERE": tmp_path / "nowhere", "HERE": workspace}

    result = setpoint(*(str(places.get(argument, argument)) for argument in arguments))

    assert (result.exit_code, result.stdout) == (code, "")
    assert said in result.stderr
    assert not (workspace / "data").exists()


@pytest.mark.timeout(300)
def test_what_is_wrong_at_the_start_is_one_message_with_its_exit_code(workspace: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        attempts = [
            (["--listen", f"127.0.0.1:{port}"], 2, f"port {port} on 127.0.0.1 is in use"),
            (["--listen", "127.0.0.1:0", "--backbone", "kafka://127.0.0.1:1"], 3, "no Kafka answers at 127.0.0.1:1"),
        ]
        for options, expected, said in attempts:
            code, printed, complained = ended(process("up", str(workspace), *options))
            assert (code, printed) == (expected, ""), complained
            assert said in complained
            assert "Traceback" not in complained


def test_a_workspace_is_written_checked_and_judged_with_line_and_cure(workspace: Path) -> None:
    fine = setpoint("check", str(workspace))
    as_json = json.loads(setpoint("check", str(workspace), "--json").stdout)
    assert (fine.exit_code, fine.stdout.startswith("ok: 1 intent, ")) == (0, True), fine.stdout
    assert (as_json["ok"], as_json["flaws"]) == (True, [])
    assert as_json["revision"] in fine.stdout

    again = setpoint("init", str(workspace))
    assert (again.exit_code, "not empty" in again.stderr) == (1, True)

    with (workspace / "setpoint.yaml").open("a") as file:
        file.write("\npartitions: many\ndurabilty: flush\n")
    wrong = setpoint("check", str(workspace))
    number = (workspace / "setpoint.yaml").read_text().splitlines().index("partitions: many") + 1

    assert wrong.exit_code == 1
    assert f"setpoint.yaml:{number}:13: partitions: 'many'" in wrong.stdout
    assert "Did you mean 'durability'?" in wrong.stdout
    assert wrong.stdout.splitlines()[-1] == "2 flaws; it would not start"

    (workspace / "intents" / "bad.yaml").write_text("intent: Bad Name\n")
    broken = setpoint("check", str(workspace), "--json")
    assert broken.exit_code == 1
    assert {"file", "line", "column", "problem", "cure"} == set(json.loads(broken.stdout)["flaws"][0])
    assert "Traceback" not in broken.stderr


def test_an_unknown_example_is_told_the_ones_that_there_are(tmp_path: Path) -> None:
    result = setpoint("init", str(tmp_path / "new"), "--example", "incidnet")

    assert result.exit_code == 1
    assert "incident" in result.stderr
    assert not (tmp_path / "new").exists()


def test_editors_get_a_schema_of_each_kind_of_file() -> None:
    kinds = setpoint("schema").stdout.split()

    assert {"intent", "row", "rule", "executor/http", "trigger/process_probe"} <= set(kinds)
    for kind in kinds:
        schema = json.loads(setpoint("schema", kind).stdout)
        assert "$ref" in schema or "properties" in schema, kind
    unknown = setpoint("schema", "nonsense")
    assert (unknown.exit_code, "intent, " in unknown.stderr) == (2, True)


def test_doctor_finds_what_is_wrong_and_says_what_to_do(workspace: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        (workspace / "setpoint.yaml").write_text(
            f"apiVersion: setpoint/v1\nlisten: 127.0.0.1:{taken.getsockname()[1]}\nbackbone: kafka://127.0.0.1:1\n"
        )
        (workspace / "rows" / "bad.yaml").write_text("row: 7\n")
        result = setpoint("doctor", str(workspace), "--json", SETPOINT_DURABILTY="fsync")

    assert result.exit_code == 3
    found = {finding["subject"]: finding for finding in json.loads(result.stdout)["findings"]}
    states = {subject: finding["state"] for subject, finding in found.items()}
    assert states["python"] == states["packages"] == states["settings"] == states["data directory"] == "ok"
    assert states["port"] == states["workspace"] == "problem"
    assert states["log"] == "away"
    assert states["environment"] == "note"
    assert "Did you mean SETPOINT_DURABILITY?" in found["environment"]["cure"]
    assert all(finding["cure"] for finding in found.values() if finding["state"] in {"problem", "away"})


def test_doctor_is_content_with_a_sound_workspace_and_stops_at_wrong_settings(workspace: Path) -> None:
    sound = setpoint("doctor", str(workspace), SETPOINT_LISTEN="127.0.0.1:0")
    wrong = setpoint("doctor", str(workspace), SETPOINT_PARTITIONS="0")

    assert sound.exit_code == 0, sound.stdout
    assert "problem" not in sound.stdout
    assert wrong.exit_code == 1
    assert "partitions: '0' (from SETPOINT_PARTITIONS)" in wrong.stdout
