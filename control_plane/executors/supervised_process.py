"""Restarts, stops and starts local processes that a workspace describes. Kind `supervised_process`.

A process carries its subject and the id of the command that started it in its environment; so it is found again after
our own end, and whether a command was carried out can be read from the world. What is supervised outlives us.
"""

import asyncio
import sys
from collections.abc import Mapping
from typing import Annotated, Literal

from msgspec import Meta, field

from control_plane.executors.processes import COMMAND_ID, HOME, SUBJECT, Marked, end_marked, marked, marked_one
from control_plane.executors.supervised_state import Spawned, Spec, StateFolder
from control_plane.executors.tools import DefinitionInvalid, ExecutorTools, Gathering, Keys, Text, VariableName, seconds
from control_plane.sdk import Attempt, Command, Duration, Executor, Found, Subject, parse_duration_ms

PROCESSES_MAX = 256
PORT_POLL_S = 0.02
PORT_FREE_WITHIN_S = 1.0
SPARE_S = 2.0
"""What an attempt may take beside the grace and the start: finding, signalling, forking."""

Verb = Literal["restart", "stop", "start"]
ProcessName = Annotated[
    str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100, description="Letters, digits, dots and dashes.")
]
Port = Annotated[int, Meta(ge=1, le=65_535)]
Argv = Annotated[list[Text], Meta(min_length=1, max_length=100)]


class ProcessKeys(Keys, frozen=True):
    """One process. What it does not say is as in the keys around it."""

    argv: Argv | None = None
    cwd: Text | None = None
    env: dict[VariableName, str] = field(default_factory=dict)
    port: Port | None = None


class SupervisedProcessKeys(Keys, frozen=True):
    """What `executors/*.yaml` says of this kind. In `argv`: {python}, {name}, {port}."""

    processes: Annotated[dict[ProcessName, ProcessKeys], Meta(min_length=1, max_length=PROCESSES_MAX)]
    argv: Argv | None = None
    cwd: Text = "."
    env: dict[VariableName, str] = field(default_factory=dict)
    subject_kind: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)] = "service"
    verb: Verb | None = None
    autostart: bool = False
    grace: Duration = "2s"
    grace_max: Duration = "10s"
    start_within: Duration = "5s"
    state_dir: Text = "data/processes"


class SupervisedProcess(Executor):
    """The processes of one definition; a subject `service/web-1` is the process `web-1`."""

    settle_s = 0.5
    attempts_max = 3
    backoff_s = 0.5

    def __init__(self, name: str, keys: SupervisedProcessKeys, tools: ExecutorTools) -> None:
        self.name = name
        self._keys = keys
        self._start_within_s = seconds(keys.start_within)
        self._grace_s_max = seconds(keys.grace_max)
        self.attempt_timeout_s = self._grace_s_max + self._start_within_s + SPARE_S
        self._state = StateFolder((tools.root / keys.state_dir).resolve())
        self._specs = {}
        gathering = Gathering()
        for found in keys.processes:
            with gathering:
                self._specs[found] = self._spec(found, tools)
        gathering.end()

    async def start(self) -> None:
        """Start what was never stopped by a command, if the definition says so."""
        self._state.make()
        if self._keys.autostart:
            await asyncio.gather(*(self._autostart(spec) for spec in self._specs.values()))

    async def execute(self, command: Command) -> Attempt:
        verb = self._verb(command)
        spec = self._spec_of(command)
        if verb is None:
            return _failed(
                f"intent {command.intent} begins with none of restart_, stop_, start_; give the executor a verb"
            )
        if spec is None:
            return _failed(f"{command.subject} is no process of executor {self.name}")
        try:
            grace_s = self._grace_s(command)
        except ValueError as wrong:
            return _failed(f"grace: {wrong}")
        command_id = command.lineage.message_id
        running = await self._running(spec)
        if running is not None and running.command_id == command_id and verb != "stop":
            return await self._healthy(spec, running.pid, f"pid {running.pid} was started by this very command")
        if running is not None and verb == "start":
            return Attempt(result="succeeded", detail=f"it runs already, pid {running.pid}")
        if verb != "start":
            await asyncio.to_thread(end_marked, self._marks(spec), grace_s)
        if verb == "stop":
            await asyncio.to_thread(self._state.stopped, spec, command_id)
            return Attempt(result="succeeded", detail=f"stopped, pid {running.pid}" if running else "it did not run")
        return await self._start(spec, command_id)

    async def reconcile(self, command: Command) -> Found:
        verb, spec = self._verb(command), self._spec_of(command)
        if verb is None or spec is None:
            return Found(state="absent", detail="nothing here could have done it")
        running = await self._running(spec)
        command_id = command.lineage.message_id
        if verb == "stop":
            if running is None:
                return Found(state="done", detail="it does not run")
            return Found(state="absent", detail=f"it still runs, pid {running.pid}")
        if running is not None and running.command_id == command_id:
            return Found(state="done", detail=f"pid {running.pid} was started by this command")
        last = await asyncio.to_thread(self._state.last, spec)
        if last is not None and last.command_id == command_id and not last.stopped:
            return Found(state="done", detail=f"pid {last.pid} was started by this command and has ended since")
        return Found(state="absent", detail="no process carries this command's id")

    async def stop(self) -> None:
        """Nothing to close: what runs goes on."""

    async def _autostart(self, spec: Spec) -> None:
        last = await asyncio.to_thread(self._state.last, spec)
        if (last is None or not last.stopped) and await self._running(spec) is None:
            await self._start(spec, "")

    async def _start(self, spec: Spec, command_id: str) -> Attempt:
        if spec.port is not None and not await _becomes_free(spec.port):
            return _failed(f"port {spec.port} is another process's; {spec.name} was not started")
        try:
            spawned = await asyncio.to_thread(self._state.spawn, spec, self._marks(spec) | {COMMAND_ID: command_id})
        except OSError as error:
            return _failed(f"{spec.argv[0]} cannot be started: {error.strerror or error}")
        return await self._healthy(spec, spawned.pid, f"started, pid {spawned.pid}", spawned)

    async def _healthy(self, spec: Spec, pid: int, detail: str, spawned: Spawned | None = None) -> Attempt:
        """Wait until the port answers; without a port, living is enough."""
        deadline_s = asyncio.get_running_loop().time() + self._start_within_s
        while True:
            code = spawned.exit_code() if spawned is not None else None
            # A child's environment can be read only a moment after its exec, so our own children are asked directly.
            if code is not None or (spawned is None and marked_one(pid, self._marks(spec)) is None):
                return _failed(f"pid {pid} ended at once" + (f" with exit code {code}" if code is not None else ""))
            if spec.port is None or await _answers(spec.port):
                return Attempt(result="succeeded", detail=detail)
            if asyncio.get_running_loop().time() >= deadline_s:
                return _failed(f"pid {pid} runs, but port {spec.port} did not answer within {self._start_within_s:g} s")
            await asyncio.sleep(PORT_POLL_S)

    async def _running(self, spec: Spec) -> Marked | None:
        """The process itself, not what it started."""
        return await asyncio.to_thread(self._find, spec)

    def _find(self, spec: Spec) -> Marked | None:
        last = self._state.last(spec)
        found = marked_one(last.pid, self._marks(spec)) if last is not None else None
        if found is not None:
            return found
        leaders = [one for one in marked(self._marks(spec)) if one.leads]
        return leaders[0] if leaders else None

    def _marks(self, spec: Spec) -> dict[str, str]:
        return {SUBJECT: spec.subject, HOME: str(self._state.folder)}

    def _verb(self, command: Command) -> Verb | None:
        if self._keys.verb is not None:
            return self._keys.verb
        verbs: tuple[Verb, ...] = ("restart", "stop", "start")
        return next((verb for verb in verbs if command.intent == verb or command.intent.startswith(f"{verb}_")), None)

    def _spec_of(self, command: Command) -> Spec | None:
        subject = Subject.parse(command.subject)
        return self._specs.get(subject.name) if subject.kind == self._keys.subject_kind else None

    def _grace_s(self, command: Command) -> float:
        """Raises ValueError."""
        given = command.parameters.get("grace", self._keys.grace)
        return min(parse_duration_ms(given) / 1000, self._grace_s_max)

    def _spec(self, name: str, tools: ExecutorTools) -> Spec:
        keys = self._keys.processes[name]
        argv = keys.argv or self._keys.argv
        if argv is None:
            raise DefinitionInvalid(("processes", name), "it has no argv", "Give it one, or one for all processes.")
        port = str(keys.port) if keys.port is not None else None
        return Spec(
            name=name,
            subject=f"{self._keys.subject_kind}/{name}",
            argv=[_argument(text, name, port) for text in argv],
            cwd=(tools.root / (keys.cwd or self._keys.cwd)).resolve(),
            env=_environment(tools.environ) | self._keys.env | keys.env,
            port=keys.port,
        )


def _argument(text: str, name: str, port: str | None) -> str:
    if "{port}" in text and port is None:
        place = ("processes", name, "port")
        raise DefinitionInvalid(place, "argv names {port}, and there is none", "Give it a port.")
    return text.replace("{python}", sys.executable).replace("{name}", name).replace("{port}", port or "")


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Ours without our settings, among which are secrets."""
    return {name: value for name, value in environ.items() if not name.startswith("SETPOINT_")}


async def _answers(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def _becomes_free(port: int) -> bool:
    """Whether nobody answers there, or soon nobody does: what has just died may hold its port for a moment."""
    deadline_s = asyncio.get_running_loop().time() + PORT_FREE_WITHIN_S
    while await _answers(port):
        if asyncio.get_running_loop().time() >= deadline_s:
            return False
        await asyncio.sleep(PORT_POLL_S)
    return True


def _failed(detail: str) -> Attempt:
    return Attempt(result="failed", detail=detail)
