"""The command executor: exit codes, arguments, environment, and nothing left behind."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from control_plane.adapters.cel import CelExpressions
from control_plane.executors import DefinitionInvalid, ExecutorTools, build_executor
from control_plane.executors.processes import HOME, end_marked
from control_plane.sdk import Executor
from tests.contract.executors.grounds import CommandGround
from tests.contract.ledger.commands import a_command


def built(folder: Path, argv: list[str], **changes: Any) -> Executor:
    tools = ExecutorTools(root=folder, expressions=CelExpressions(), environ={"PATH": os.environ["PATH"], "TOKEN": "x"})
    return build_executor({"name": "tried", "kind": "command", "argv": argv, **changes}, tools)


def python(code: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", code, *arguments]


@pytest.mark.parametrize(
    ("ending", "result", "detail"),
    [
        ("sys.exit(0)", "succeeded", "exit code 0"),
        ("sys.exit(75)", "nothing_done", "exit code 75"),
        ("print('no such service'); sys.exit(3)", "failed", "exit code 3: no such service"),
        ("print('why', file=sys.stderr); sys.exit(3)", "failed", "exit code 3: why"),
        ("os.kill(os.getpid(), 9)", "unknown", "ended by signal 9"),
    ],
)
async def test_each_ending_has_one_meaning(tmp_path: Path, ending: str, result: str, detail: str) -> None:
    executor = built(tmp_path, python(f"import os, sys; {ending}"), nothing_done_codes=[75])

    attempt = await executor.execute(a_command())

    assert (attempt.result, attempt.detail) == (result, detail)


async def test_a_program_that_is_not_there_fails_and_says_so(tmp_path: Path) -> None:
    attempt = await built(tmp_path, ["/no/such/program"]).execute(a_command())

    assert attempt.result == "failed"
    assert "/no/such/program cannot be run" in attempt.detail


async def test_each_template_is_one_argument_and_no_shell_reads_it(tmp_path: Path) -> None:
    code = "import json, sys; print(json.dumps(sys.argv[1:]))"
    argv = python(code, "{subject.kind}", "--to={parameters.to}", "{parameters.list}", "plain {intent}")
    parameters = {"to": "a b; rm -rf / $(x)", "list": [1, "two"]}

    attempt = await built(tmp_path, argv).execute(a_command(parameters=parameters))

    said = r'["service", "--to=a b; rm -rf / $(x)", "[1,\"two\"]", "plain restart_service"]'
    assert attempt.detail == f"exit code 0: {said}"


@pytest.mark.parametrize("hostile", ["--force", "-rf", "a\0b"])
async def test_what_could_be_read_as_an_option_is_refused(program: CommandGround, tmp_path: Path, hostile: str) -> None:
    executor = built(tmp_path, python("print('ran')", "{parameters.x}"))

    attempt = await executor.execute(a_command(parameters={"x": hostile}))

    assert attempt.result == "failed"
    assert "ran" not in attempt.detail


async def test_a_missing_parameter_fails_before_anything_runs(tmp_path: Path) -> None:
    attempt = await built(tmp_path, python("print('ran')", "{parameters.x}")).execute(a_command(parameters={}))

    assert (attempt.result, attempt.detail) == ("failed", "the command has no parameter x")


async def test_only_allowed_variables_are_handed_on(tmp_path: Path) -> None:
    code = "import os; print(sorted(name for name in os.environ if name != 'LC_CTYPE'))"
    executor = built(tmp_path, python(code), env={"MODE": "fast"}, inherit=["PATH", "NOT_SET"])

    attempt = await executor.execute(a_command())

    expected = ["MODE", "PATH", "SETPOINT_COMMAND_ID", "SETPOINT_HOME", "SETPOINT_SUBJECT"]
    assert attempt.detail == f"exit code 0: {expected}"


async def test_a_flood_of_output_is_read_and_only_its_end_is_kept(tmp_path: Path) -> None:
    code = "import sys; [sys.stdout.write('x' * 100_000) for _ in range(100)]; print('the end')"

    attempt = await built(tmp_path, python(code)).execute(a_command())

    assert attempt.result == "succeeded"
    assert attempt.detail.endswith("the end")
    assert len(attempt.detail) < 400


async def test_a_program_that_leaves_another_running_does_not_keep_us_waiting(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); print('left')"
    )

    async with asyncio.timeout(20):
        attempt = await built(tmp_path, python(code)).execute(a_command())

    assert (attempt.result, attempt.detail) == ("succeeded", "exit code 0: left")
    assert end_marked({HOME: str(tmp_path.resolve())}, 0.0) == 1


async def test_what_still_runs_from_an_earlier_life_is_unknown(program: CommandGround) -> None:
    await program.hang()
    running = asyncio.create_task(program.executor.execute(program.command("c1")))
    async with asyncio.timeout(10):
        while not program.effects():  # noqa: ASYNC110 - another process has no event of ours
            await asyncio.sleep(0.01)

    found = await program.executor.reconcile(program.command("c1"))
    running.cancel()
    await asyncio.wait([running])

    assert found.state == "unknown"
    assert "still running" in found.detail
    await program.at_rest()


async def test_without_a_reconcile_program_nobody_knows(tmp_path: Path) -> None:
    assert (await built(tmp_path, python("pass")).reconcile(a_command())).state == "unknown"


def test_a_wrong_place_in_argv_names_the_field(tmp_path: Path) -> None:
    with pytest.raises(DefinitionInvalid) as invalid:
        built(tmp_path, ["ls", "{nobody}"])

    assert invalid.value.field == "argv.1"
