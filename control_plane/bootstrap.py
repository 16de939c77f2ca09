"""Puts the house together: the only module that names concrete classes, with the demo beside it.

A service is one process with one or more roles. `setpoint up` runs all of them, `setpoint worker --role ROLE` one.
"""

import asyncio
import contextlib
import gc
import sys
from collections.abc import Callable, Collection, Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from agents.rules import Rule
from control_plane.adapters.cel import CelExpressions
from control_plane.adapters.faust import FaustBackbone, open_log_reader
from control_plane.adapters.faust.fault_points import fault_point
from control_plane.adapters.jsonschema import JsonSchemas
from control_plane.adapters.regorus import RegorusEngine, check_policies, run_tests
from control_plane.adapters.sql import Database, SqlAudit, SqlLedger
from control_plane.adapters.system import SystemClock, TimeLimited
from control_plane.adapters.telemetry import Telemetry
from control_plane.caretaker import Caretaker
from control_plane.catalogue import ControlItem, Controls
from control_plane.catalogue.definitions import RuleDefinition
from control_plane.errors import InvalidMessage, InvalidSettings
from control_plane.executors import Dispatch, ExecutorTools, build_executor, executor_kinds
from control_plane.loop.step import Done
from control_plane.messages import DeadLetter, Event, Outcome, topics
from control_plane.messages.wire import encode, encode_event
from control_plane.partition import Observer, Partitions
from control_plane.ports.agent import Agent
from control_plane.ports.backbone import GroupReader, Output, Record
from control_plane.ports.log_reader import LogReader
from control_plane.recorder import RECORDED_TOPICS, Recorder
from control_plane.replay import Report
from control_plane.replay import replay as replay_log
from control_plane.settings import Settings
from control_plane.slow_agents import SlowAgents
from control_plane.triggers import build_trigger, trigger_kinds
from control_plane.workspace.compiling import Tools
from control_plane.workspace.control_log import ControlLog, outputs_to_publish
from control_plane.workspace.python_agents import load_agent
from control_plane.workspace.reading import Workspace, read_workspace
from control_plane.workspace.tools import CheckTools, Data, Modules, PolicyTests

if TYPE_CHECKING:
    from control_plane.api import RestServer

ROLES: Final = ("loop", "agents", "executors", "recorder", "triggers", "api")
READY_TIMEOUT_S: Final = 60.0
READY_POLL_S: Final = 0.01
COLLECT_AFTER_OBJECTS: Final = 20_000
"""New objects before Python looks for cycles among them; its default of 700 is met several times in every batch."""
THREAD_SWITCH_S: Final = 0.0005
"""How long the loop's thread keeps the interpreter from the thread that writes the store, instead of Python's 5 ms.
A bare SQLite writer beside a busy thread went from 5,000 to 20,900 rows/s by it, for a tenth of that thread's time."""


def compile_tools(*, limited: bool = True) -> Tools:
    """What turns a user's files into what the loop follows. A replay runs agents without a limit: its machine may be
    slower, and what overran when it was recorded is taken from the record."""
    expressions = CelExpressions()

    def rule(item: ControlItem) -> Agent:
        return Rule(msgspec.json.decode(item.body, type=RuleDefinition), expressions)

    def python(item: ControlItem) -> Agent:
        agent = load_agent(item)
        # A slow agent has its time limit in the group that runs it.
        return TimeLimited(agent) if limited and not asyncio.iscoroutinefunction(agent.decide) else agent

    return Tools(expressions=expressions, schemas=JsonSchemas(), agents={"rule": rule, "agent": python})


def check_tools() -> CheckTools:
    """The judges of what only adapters, executors and triggers know."""
    return CheckTools(
        compiling=compile_tools(),
        executors=executor_kinds(),
        triggers=trigger_kinds(),
        check_policies=lambda modules: check_policies(sorted(modules.items())),
        test_policies=_test_policies,
    )


def _test_policies(modules: Modules, tests: Modules, data: Data) -> PolicyTests:
    report = run_tests(sorted(modules.items()), sorted(tests.items()), sorted(data.items()))
    uncovered = set(report.uncovered)
    return PolicyTests(failed=tuple(f for f in report.flaws if f not in uncovered), uncovered=report.uncovered)


def load_workspace(root: Path, *, builtin_policies: bool | None = None) -> Workspace:
    """Read and check a workspace. Raises InvalidWorkspace with all that is wrong."""
    return read_workspace(root, check_tools(), builtin_policies=builtin_policies)


def load_settings(
    root: Path, environ: dict[str, str], overrides: dict[str, Any] | None = None, workspace: Workspace | None = None
) -> Settings:
    """The settings of a workspace, of the environment and of the command line."""
    return Settings.load(root, workspace.settings if workspace else {}, environ, overrides or {})


def open_reader(settings: Settings) -> LogReader:
    """The log, to be read without taking part in it."""
    return open_log_reader(settings.backbone)


async def replay(reader: LogReader) -> Report:
    """Run the log through the same versions once more and compare. Raises ContinuityBroken, DataDamaged."""
    controls = ControlLog.from_reader(reader, compile_tools(limited=False))
    return await replay_log(reader, controls, RegorusEngine())


class Service:
    """One process of Setpoint. `start` returns once it works; `run` waits until something that it rests on fails."""

    def __init__(self, settings: Settings, workspace: Workspace, roles: Collection[str] = ROLES) -> None:
        unknown = sorted(set(roles) - set(ROLES))
        if unknown:
            raise InvalidSettings(f"there is no role {unknown[0]!r}. Nothing was started. Roles: {', '.join(ROLES)}.")
        self.settings = settings
        self.workspace = workspace
        self.roles = frozenset(roles)
        self.rest: RestServer | None = None
        self._clock = SystemClock()
        self._telemetry = Telemetry()
        self._observers = _Observers([self._telemetry])
        self._controls = ControlLog(compile_tools())
        self._started = asyncio.Event()
        self._tasks: list[asyncio.Task[Any]] = []
        self._stack = contextlib.AsyncExitStack()
        self._engine: RegorusEngine | None = None
        self._partitions: Partitions | None = None
        self._dispatch: Dispatch | None = None
        self._audit: SqlAudit | None = None
        self.recorder: Recorder | None = None
        self._databases: list[Database] = []
        self.backbone = FaustBackbone(
            settings.backbone,
            partitions=settings.partitions,
            data_dir=settings.data_dir,
            durability=settings.durability,
        )

    def observe(self, observer: Observer) -> None:
        """Tell somebody else, too, what the loop does in this process."""
        self._observers.append(observer)

    async def start(self) -> None:
        """Start every role. Raises a SetpointError with the cure; then nothing runs."""
        sys.setswitchinterval(THREAD_SWITCH_S)
        try:
            self._controls = await asyncio.to_thread(self._read_controls)
            self._join()
            # Readers write to the store until the backbone has stopped, so it is closed last.
            self._stack.push_async_callback(self._close_store)
            self._stack.push_async_callback(self.backbone.stop)
            await self.backbone.start()
            await self._open_store()
            await self._publish_controls()
            self._started.set()
            await self._start_caretaker()
            await self._start_front()
            _spare_the_collector()
        except BaseException:
            await self.stop()
            raise

    async def run(self) -> None:
        """Wait as long as all is well; raises what ended it."""
        self._spawn(self.backbone.watch())
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    async def stop(self) -> None:
        """Stop in the order in which things rest on one another. What was acknowledged is kept."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        await self._stack.aclose()

    def why_not_ready(self) -> Sequence[str]:
        """Why the service cannot do its work yet; empty when it can."""
        if not self._started.is_set():
            return ("the service is starting",)
        if self._partitions is None:
            return ()
        owned = self._partitions.owned()
        if not owned:
            return ("no partition is owned by this process",)
        waiting = [number for number, revision in sorted(owned.items()) if revision != self._wanted]
        return tuple(f"partition {number} has not adopted the controls {self._wanted}" for number in waiting)

    @property
    def _wanted(self) -> str:
        return self.workspace.controls.revision

    def _read_controls(self) -> ControlLog:
        """The controls of every kept revision, before a partition asks for them."""
        if self.settings.backbone.startswith("embedded://") and not _embedded_path(self.settings).exists():
            return ControlLog(compile_tools())
        reader = open_reader(self.settings)
        try:
            return ControlLog.from_reader(reader, compile_tools())
        finally:
            reader.close()

    def _join(self) -> None:
        if "loop" in self.roles:
            self._engine = RegorusEngine()
            self._partitions = Partitions(engine=self._engine, controls=self._controls, observer=self._observers)
            self.backbone.own_events(self._partitions)
            self._telemetry.watch_partitions(self._partitions.owned)
        if "agents" in self.roles:
            slow = SlowAgents(self._slow_agent, self.backbone.append)
            self.backbone.join("agents", [topics.CONTEXTS], _Waiting(self._started, lambda: slow))
        if "executors" in self.roles:
            self.backbone.join("executors", [topics.COMMANDS], _Waiting(self._started, lambda: self._dispatch))
        if "recorder" in self.roles:
            self.backbone.join("recorder", RECORDED_TOPICS, _Waiting(self._started, lambda: self.recorder))

    async def _open_store(self) -> None:
        """Ledger and audit store; only once the log's lock is ours, because opening them says that others are gone."""
        if self.roles & {"recorder", "api"}:
            self._audit = SqlAudit(await self._open_database(self.settings.store))
            self.recorder = Recorder(self._audit)
        if "executors" in self.roles:
            await self._start_dispatch(SqlLedger(await self._open_database(self.settings.ledger), sole=self._is_alone))

    async def _open_database(self, url: str) -> Database:
        database = await Database.open(url, durability=self.settings.durability)  # type: ignore[arg-type]
        self._databases.append(database)
        return database

    async def _close_store(self) -> None:
        for database in self._databases:
            await database.close()

    @property
    def _is_alone(self) -> bool:
        """The embedded log's file lock says that no other process uses this data."""
        return self.settings.backbone.startswith("embedded://")

    async def _start_dispatch(self, ledger: SqlLedger) -> None:
        tools = ExecutorTools(root=self.workspace.root.resolve(), expressions=CelExpressions())
        self._dispatch = Dispatch(
            ledger=ledger,
            executors={found["name"]: build_executor(found, tools) for found in self.workspace.executors},
            clock=self._clock,
            publish=self._publish_outcomes,
            dead_letter=self._bury_command,
            fault_point=fault_point,
        )
        self._telemetry.watch_dispatch(self._dispatch.counters)
        await self._dispatch.start()
        self._stack.push_async_callback(self._dispatch.stop)
        assert self._dispatch.failed is not None
        self._spawn(_ended(self._dispatch.failed))

    async def _publish_outcomes(self, outcomes: Sequence[Outcome]) -> None:
        await self.backbone.append(
            [Output(topics.EVENTS, outcome.subject.encode(), encode(outcome)) for outcome in outcomes]
        )

    async def _bury_command(self, record: Record, reason: InvalidMessage) -> None:
        letter = DeadLetter.of(
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            recorded_ms=record.recorded_ms,
            record=record.value,
            reason=reason,
        )
        await self.backbone.append([Output(topics.DEAD_LETTERS, record.key, encode(letter), record.partition)])

    async def _publish_controls(self) -> None:
        """What the workspace declares, if it is new; partitions adopt it."""
        outputs = outputs_to_publish(self.workspace.controls, self._controls)
        if outputs and "loop" in self.roles:
            await self.backbone.append(outputs)
        for output in outputs:
            self._controls.note(output.topic, output.key, output.value)
        if self._engine is not None:
            # Compiled now, so that the first decision does not wait for it.
            self._engine.load(self._controls_in_force().policies)

    async def _start_caretaker(self) -> None:
        if self._partitions is None:
            return
        caretaker = Caretaker(self.backbone, self._partitions, self._clock, lambda: self._wanted)
        self._spawn(caretaker.run())
        async with asyncio.timeout(READY_TIMEOUT_S):
            while self.why_not_ready():
                await self._clock.sleep(READY_POLL_S)

    async def _start_front(self) -> None:
        """REST and triggers: the world comes in only once the loop can answer it."""
        if "triggers" in self.roles:
            for definition in self.workspace.triggers:
                self._spawn(build_trigger(definition, self._publish_events).run())
        if "api" in self.roles:
            self.rest = self._rest_server()
            await self.rest.start()
            self._stack.push_async_callback(self.rest.stop)

    def _rest_server(self) -> "RestServer":
        # A process without REST does not pay for loading it.
        from control_plane.api import ApiPorts, RestServer, api_key_for, create_app
        from control_plane.api.keys import is_loopback

        assert self._audit is not None, "the api role opens the store"
        app = create_app(
            ApiPorts(
                append=self.backbone.append,
                audit=self._audit,
                controls=self._controls_in_force,
                health=self.why_not_ready,
                metrics=self._telemetry.registry,
                key=api_key_for(self.settings),
                on_loopback=is_loopback(self.settings.listen_host),
            )
        )
        return RestServer(app, host=self.settings.listen_host, port=self.settings.listen_port)

    async def _publish_events(self, events: Sequence[Event]) -> None:
        await self.backbone.append(
            [Output(topics.EVENTS, event.subject.encode(), encode_event(event)) for event in events]
        )

    def _controls_in_force(self) -> Controls:
        return self._controls.at(self._wanted)

    def _slow_agent(self, name: str) -> Any:
        found = self._controls_in_force().agent(name)
        return found.agent if found is not None and found.slow else None

    def _spawn(self, running: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.create_task(running))


class _Waiting:
    """A group reader that takes nothing before the whole service has started."""

    def __init__(self, started: asyncio.Event, inner: Callable[[], GroupReader | None]) -> None:
        self._started = started
        self._inner = inner

    async def take(self, topic: str, partition: int, records: Sequence[Record]) -> None:
        """Wait, then let the reader take the batch."""
        await self._started.wait()
        reader = self._inner()
        assert reader is not None, "a role is joined only with its reader"
        await reader.take(topic, partition, records)


class _Observers:
    """Tells several observers."""

    def __init__(self, observers: list[Observer]) -> None:
        self._observers = observers

    def append(self, observer: Observer) -> None:
        self._observers.append(observer)

    def stepped(self, event: Event, done: Done) -> None:
        for observer in self._observers:
            observer.stepped(event, done)

    def dead_lettered(self, letter: DeadLetter) -> None:
        for observer in self._observers:
            observer.dead_lettered(letter)


def _spare_the_collector() -> None:
    """What was loaded for good is no longer looked through for cycles: that took 126 ms in the middle of a ruling."""
    gc.set_threshold(COLLECT_AFTER_OBJECTS)
    gc.freeze()


async def _ended(failed: "asyncio.Future[None]") -> None:
    """Raises what stopped dispatch; waits as long as it works."""
    await asyncio.shield(failed)


def _embedded_path(settings: Settings) -> Path:
    return Path(settings.backbone.removeprefix("embedded://").partition("?")[0])
