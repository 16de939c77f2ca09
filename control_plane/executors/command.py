"""Carries commands out by running a program, without a shell. Kind `command`.

Exit code 0: succeeded; one of `nothing_done_codes`: nothing was done; any other: failed. Ended by a signal, or not in
time: unknown, and nothing of it goes on running.
"""

import asyncio
import contextlib
from pathlib import Path
from typing import Annotated

from msgspec import Meta, field

from control_plane.executors.processes import COMMAND_ID, HOME, SUBJECT, end_marked, marked
from control_plane.executors.program import Ran, run_program
from control_plane.executors.templates import ParameterMissing, Template
from control_plane.executors.tools import ExecutorTools, Gathering, Keys, Places, RetryKeys, Text, VariableName, seconds
from control_plane.sdk import Attempt, Command, Duration, Executor, Found

DETAIL_CHARS_MAX = 300
KILL_GRACE_S = 0.0

Argv = Annotated[list[Text], Meta(min_length=1, max_length=200)]
Code = Annotated[int, Meta(ge=0, le=255)]


class ReconcileKeys(Keys, frozen=True):
    """A program that says whether a command was carried out. Any other exit code says nothing.

    `absent_codes` has no default: programs that merely break end with 1, and that must not look like an answer.
    """

    argv: Argv
    absent_codes: Annotated[list[Code], Meta(min_length=1)]
    done_codes: list[Code] = field(default_factory=lambda: [0])
    settle: Duration = "1s"


class CommandKeys(Keys, frozen=True):
    """What `executors/*.yaml` says of this kind. In `argv`: {subject}, {subject.name}, {command_id}, {parameters.x}."""

    argv: Argv
    cwd: Text = "."
    env: dict[VariableName, str] = field(default_factory=dict)
    inherit: list[VariableName] = field(default_factory=lambda: ["PATH", "HOME", "LANG", "LC_ALL", "TZ"])
    """Variables of this process that the program may see."""
    nothing_done_codes: list[Code] = field(default_factory=list)
    reconcile: ReconcileKeys | None = None
    timeout: Duration = "10s"
    retry: RetryKeys = RetryKeys()
    concurrency: Places = 8


class Refused(Exception):
    """A command's words that must not become a program's: nothing was run."""


class RunCommand(Executor):
    """One program with its arguments."""

    def __init__(self, name: str, keys: CommandKeys, tools: ExecutorTools) -> None:
        self.name = name
        self.attempt_timeout_s = seconds(keys.timeout)
        self.settle_s = seconds(keys.reconcile.settle) if keys.reconcile else 0.0
        self.attempts_max = keys.retry.attempts
        self.backoff_s = seconds(keys.retry.backoff)
        self.concurrency_max = keys.concurrency
        self._keys = keys
        self._home = str(tools.root.resolve())
        self._cwd: Path = (tools.root / keys.cwd).resolve()
        self._env = {name: tools.environ[name] for name in keys.inherit if name in tools.environ} | keys.env
        gathering = Gathering()
        self._argv = _templates(keys.argv, "argv", gathering)
        self._question = _templates(keys.reconcile.argv, "reconcile.argv", gathering) if keys.reconcile else []
        gathering.end()

    async def execute(self, command: Command) -> Attempt:
        try:
            argv = _filled(self._argv, command)
        except (Refused, ParameterMissing) as refused:
            return Attempt(result="failed", detail=str(refused))
        try:
            ran = await self._run(argv, command)
        except OSError as error:
            return Attempt(result="failed", detail=f"{argv[0]} cannot be run: {error.strerror or error}")
        detail = _detail(ran)
        if ran.exit_code == 0:
            return Attempt(result="succeeded", detail=detail)
        if ran.exit_code in self._keys.nothing_done_codes:
            return Attempt(result="nothing_done", detail=detail)
        return Attempt(result="failed" if ran.exit_code > 0 else "unknown", detail=detail)

    async def reconcile(self, command: Command) -> Found:
        running = await asyncio.to_thread(marked, self._marks(command))
        if running:
            return Found(state="unknown", detail=f"it is still running, pid {running[0].pid}")
        if self._keys.reconcile is None:
            return Found(state="unknown", detail=f"executor {self.name} has no reconcile program")
        try:
            ran = await self._run(_filled(self._question, command), command)
        except (Refused, ParameterMissing) as refused:
            return Found(state="absent", detail=f"{refused}, so nothing was ever run")
        except OSError as error:
            return Found(state="unknown", detail=f"reconciling: {error}")
        if ran.exit_code in self._keys.reconcile.done_codes:
            return Found(state="done", detail=_detail(ran))
        absent = ran.exit_code in self._keys.reconcile.absent_codes
        return Found(state="absent" if absent else "unknown", detail=_detail(ran))

    async def _run(self, argv: list[str], command: Command) -> Ran:
        marks = self._marks(command)
        try:
            return await run_program(argv, cwd=self._cwd, env={**self._env, **marks})
        except asyncio.CancelledError:
            # The group is dead already; this is for those that have left it.
            with contextlib.suppress(TimeoutError):
                await asyncio.shield(asyncio.to_thread(end_marked, marks, KILL_GRACE_S))
            raise

    def _marks(self, command: Command) -> dict[str, str]:
        return {COMMAND_ID: command.lineage.message_id, SUBJECT: command.subject, HOME: self._home}


def _templates(argv: list[str], place: str, gathering: Gathering) -> list[Template]:
    templates = []
    for number, text in enumerate(argv):
        with gathering:
            templates.append(Template(text, place=f"{place}.{number}"))
    return templates


def _filled(argv: list[Template], command: Command) -> list[str]:
    """Raises Refused, ParameterMissing. Each template becomes exactly one argument, whatever stands in it."""
    filled = []
    for template in argv:
        argument = template.filled(command)
        if "\0" in argument:
            raise Refused("an argument holds a NUL")
        if template.begins_with_a_value and argument.startswith("-"):
            raise Refused(f"{template.text} begins with a dash and would be read as an option")
        filled.append(argument)
    return filled


def _detail(ran: Ran) -> str:
    how = f"exit code {ran.exit_code}" if ran.exit_code >= 0 else f"ended by signal {-ran.exit_code}"
    said = ran.output.decode(errors="replace").strip()[-DETAIL_CHARS_MAX:]
    return f"{how}: {said}" if said else how
