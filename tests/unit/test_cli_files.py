"""Commands that need no service: settings, schemas, logs, completion, and the manners of the command itself."""

import json
import os
import pty
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from control_plane.adapters.embedded_log import Append, EmbeddedLog
from control_plane.cli.event_files import batches
from control_plane.cli.exits import CommandError, code_of
from control_plane.cli.logs import FieldsFormatter, begin_logging
from control_plane.errors import BackboneUnavailable, DataInUse, InvalidSettings, InvalidWorkspace
from control_plane.settings import SETTINGS
from tests.unit.cli_world import PATIENCE_S, ROOT, process, setpoint

HELP_S_MAX = 0.3
FIRST_HELP_S_MAX = 3 * HELP_S_MAX
"""What is allowed here: others work on this machine, too."""


def test_help_comes_at_once_and_pays_for_nothing_that_is_not_asked_for() -> None:
    program = "import sys; from control_plane.cli.main import app; print(*sorted(sys.modules))"
    began = time.monotonic()
    told = process("--help")
    said, _ = told.communicate(timeout=PATIENCE_S)
    took_s = time.monotonic() - began

    loaded = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)

    assert took_s < FIRST_HELP_S_MAX
    assert "setpoint init my-loop" in said
    heavy = {"faust", "sqlalchemy", "fastapi", "httpx", "rich", "asyncio", "aiokafka", "control_plane.demo"}
    assert not heavy & set(loaded.stdout.split())


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ([], 2),
        (["--help"], 0),
        (["--version"], 0),
        (["events"], 2),
        (["no-such-command"], 2),
        (["up", "--non"], 2),
    ],
)
def test_usage_is_told_with_its_exit_code(arguments: list[str], code: int) -> None:
    ran = process(*arguments)
    said, complained = ran.communicate(timeout=PATIENCE_S)

    assert ran.returncode == code
    assert "Traceback" not in complained
    assert said or complained


def test_every_command_says_what_it_does_and_has_help() -> None:
    for line in setpoint("--help").stdout.partition("Commands:")[2].splitlines():
        if line.startswith("  ") and line.split():
            name, *words = line.split()
            if name.islower() and words and "setpoint" not in words:
                assert not line.endswith("..."), f"the first sentence of {name} is cut off"
                assert setpoint(name, "--help").exit_code == 0


def test_every_setting_is_an_option_of_up_and_worker() -> None:
    for command in ("up", "worker"):
        told = setpoint(command, "--help").stdout
        assert all(setting.option in told for setting in SETTINGS)


def test_settings_are_shown_with_their_origin(tmp_path: Path) -> None:
    (tmp_path / "setpoint.yaml").write_text("apiVersion: setpoint/v1\npartitions: 8\n")
    arguments = ["config", "show", "-w", str(tmp_path)]

    columns = setpoint(*arguments, SETPOINT_LISTEN="127.0.0.1:1").stdout
    as_json = json.loads(setpoint(*arguments, "--json", SETPOINT_STORE="sqlite+aiosqlite:///x.db").stdout)
    wide = setpoint(*arguments, "-o", "wide").stdout

    lines = {line.split()[0]: line.split()[1:] for line in columns.splitlines()}
    assert lines["partitions"] == ["8", "setpoint.yaml"]
    assert lines["listen"] == ["127.0.0.1:1", "SETPOINT_LISTEN"]
    assert lines["durability"] == ["flush", "default"]
    origins = {item["name"]: item["origin"] for item in as_json}
    assert origins["store"] == "SETPOINT_STORE"
    assert all(setting.help in wide and setting.variable in wide for setting in SETTINGS)


def test_wrong_settings_are_bad_usage_and_all_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "setpoint.yaml").write_text("partitions: 0\ndurabilty: flush\n")

    result = setpoint("config", "show", "-w", str(tmp_path))

    assert result.exit_code == 2
    assert "partitions: '0' (from setpoint.yaml)" in result.stderr
    assert "Did you mean 'durability'?" in result.stderr


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    """A data directory with a log that is open, as a running service has it."""
    log = EmbeddedLog.open(tmp_path / "data" / "log")
    log.create_topic("events.v1", partitions=2)
    log.create_topic("intents.v1", partitions=1, compacted=True)
    log.write([Append("events.v1", n % 2, b"k", b"v") for n in range(5)])
    yield tmp_path / "data"
    log.close()


def test_a_log_is_described_while_somebody_writes_it(data: Path) -> None:
    columns = setpoint("log", "info", "--data", str(data))
    wide = setpoint("log", "info", "-w", str(data.parent), "-o", "wide")
    as_json = json.loads(setpoint("log", "info", "--backbone", f"embedded://{data}/log", "--json").stdout)

    assert columns.exit_code == 0, columns.stderr
    assert [line.split() for line in columns.stdout.splitlines()[1:]] == [
        ["events.v1", "2", "5"],
        ["intents.v1", "1", "0"],
    ]
    assert wide.stdout.splitlines()[1].split() == ["events.v1", "0", "0", "3", "3"]
    assert as_json["partitions"][1] == {"topic": "events.v1", "partition": 1, "first": 0, "next": 2, "records_max": 2}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--data", "no-such-folder"], "is no folder"),
        (["--data", ".", "--backbone", "kafka://h:1"], "not both"),
        (["--data", "."], "there is no log at"),
        (["--backbone", "redis://h"], "backbone: 'redis://h'"),
    ],
)
@pytest.mark.parametrize("command", [["log", "info"], ["replay"]])
def test_a_log_that_is_not_there_is_bad_usage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str], arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)

    result = setpoint(*command, *arguments)

    assert result.exit_code == 2
    assert said in result.stderr


def test_a_kafka_that_does_not_answer_is_exit_code_3() -> None:
    result = setpoint("log", "info", "--backbone", "kafka://127.0.0.1:1")

    assert (result.exit_code, "127.0.0.1:1" in result.stderr) == (3, True)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_gets_its_completion_script(shell: str) -> None:
    result = setpoint("completion", shell)

    assert result.exit_code == 0
    assert "_SETPOINT_COMPLETE" in result.stdout


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_completes_commands() -> None:
    asked = process(_SETPOINT_COMPLETE="complete_bash", COMP_WORDS="setpoint de", COMP_CWORD="1")
    said, _ = asked.communicate(timeout=PATIENCE_S)

    assert "decisions" in said.split()


def test_an_unknown_shell_is_bad_usage() -> None:
    assert setpoint("completion", "tcsh").exit_code == 2


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BackboneUnavailable("x"), 3),
        (InvalidSettings("x"), 2),
        (InvalidWorkspace([]), 1),
        (DataInUse("x"), 1),
    ],
)
def test_an_exit_code_says_whose_turn_it_is(error: BackboneUnavailable, code: int) -> None:
    assert code_of(error) == code


@pytest.mark.parametrize(("no_color", "coloured"), [(None, True), ("1", False)])
def test_a_terminal_gets_colours_unless_it_wants_none(tmp_path: Path, no_color: str | None, coloured: bool) -> None:
    program = "from control_plane.cli.output import put_columns; put_columns(['A'], [['allow'], ['other']])"
    environment = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    environment |= {"TERM": "xterm"} | ({} if no_color is None else {"NO_COLOR": no_color})
    ours, theirs = pty.openpty()

    subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, stdout=theirs, check=True)
    os.close(theirs)
    said = os.read(ours, 10_000)
    os.close(ours)

    assert (b"\x1b[" in said) == coloured
    assert b"allow" in said


def test_whoever_reads_only_the_beginning_is_not_told_of_a_broken_pipe(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", "from control_plane.cli.main import main; main()", "config", "show"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as telling:
        assert telling.stdout is not None
        assert telling.stderr is not None
        telling.stdout.close()
        complained = telling.stderr.read()
    assert telling.returncode == 0

    assert b"Traceback" not in complained
    assert b"BrokenPipe" not in complained


def test_events_go_out_in_batches_within_both_limits() -> None:
    small = list(batches([b"x"] * 1_001))
    large = list(batches([b"x" * 1_500_000] * 3))

    assert [len(batch) for batch in small] == [500, 500, 1]
    assert [len(batch) for batch in large] == [1, 1, 1]


def test_logs_keep_their_message_constant_and_their_fields_behind_it(capsys: pytest.CaptureFixture[str]) -> None:
    import logging

    root = logging.getLogger()
    before = (root.handlers, root.level, logging.getLogger("control_plane").level)
    try:
        begin_logging("info")
        logging.getLogger("control_plane.test").info("decision denied", extra={"subject": "a b", "n": 1})
        logging.getLogger("control_plane.test").debug("not now")
        logging.getLogger("some.library").info("chatter")
        said = capsys.readouterr().err
    finally:
        root.handlers, root.level = before[:2]
        for name in ("control_plane", "agents", "state"):
            logging.getLogger(name).setLevel(before[2])

    assert said.count("\n") == 1
    assert said.endswith("INFO decision denied subject='a b' n=1\n")
    assert FieldsFormatter().format(logging.makeLogRecord({"msg": "m", "levelname": "INFO"})).endswith("INFO m")


def test_an_unknown_log_level_is_bad_usage() -> None:
    with pytest.raises(CommandError, match="no log level"):
        begin_logging("loud")
