"""One process of Setpoint, with its roles: `setpoint up` runs all of them, `setpoint worker --role ROLE` one."""

import asyncio
import contextlib
from collections.abc import Collection, Coroutine, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from control_plane.adapters.faust import FaustBackbone
from control_plane.adapters.system import SharedClock, SystemClock
from control_plane.adapters.telemetry import Telemetry
from control_plane.api.door import Door
from control_plane.bootstrap.acting import start_dispatch
from control_plane.bootstrap.control_desk import Beginning, ControlDesk
from control_plane.bootstrap.elsewhere import Append, Elsewhere
from control_plane.bootstrap.ends import TriggersEnd
from control_plane.bootstrap.following import ControlFollower
from control_plane.bootstrap.front import Front
from control_plane.bootstrap.interpreter import spare_the_collector, switch_threads_soon
from control_plane.bootstrap.readiness import Following, until_ready
from control_plane.bootstrap.records import home_on, open_marks, open_reader, open_tail
from control_plane.bootstrap.ruling import EMBEDDED, EmbeddedRuling, ruling_for
from control_plane.bootstrap.slow import SlowEnd
from control_plane.bootstrap.stores import Stores
from control_plane.bootstrap.workshop import check_tools, compile_tools
from control_plane.caretaker import Caretaker
from control_plane.errors import InvalidSettings
from control_plane.executors import Dispatch
from control_plane.joints import Observers, Waiting
from control_plane.messages import topics
from control_plane.partition import Observer, Partitions
from control_plane.ports.audit import Audit
from control_plane.ports.webhooks import Webhook
from control_plane.recorder import GATHER_MS, RECORDED_TOPICS, Recorder
from control_plane.settings import Settings
from control_plane.workspace.control_log import ControlLog
from control_plane.workspace.reading import Workspace

if TYPE_CHECKING:
    from control_plane.api.serving import RestServer
    from control_plane.bootstrap.ruling_by_opa import OpaRuling

ROLES: Final = ("loop", "agents", "executors", "recorder", "triggers", "api")


class Service:
    """One process of Setpoint. `start` returns once it works; `run` waits until something that it rests on fails."""

    def __init__(self, settings: Settings, workspace: Workspace, roles: Collection[str] | None = None) -> None:
        """`roles` are those of a worker; without any, the process has all of them, and what its workspace declares is
        published where it was edited since the last start."""
        self._is_worker = roles is not None
        roles = ROLES if roles is None else roles
        unknown = sorted(set(roles) - set(ROLES))
        if unknown:
            raise InvalidSettings(f"there is no role {unknown[0]!r}. Nothing was started. Roles: {', '.join(ROLES)}.")
        self.settings = settings
        self.workspace = workspace
        self.roles = frozenset(roles)
        self.rest: RestServer | None = None
        self._door: Door | None = None
        self._clock = SystemClock()
        self._telemetry = Telemetry()
        self._observers = Observers([self._telemetry])
        self._desk: ControlDesk | None = None
        self.beginning: Beginning | None = None
        self._started = asyncio.Event()
        self._following = Following()
        self._tasks: list[asyncio.Task[Any]] = []
        self._stack = contextlib.AsyncExitStack()
        self._ruling: EmbeddedRuling | OpaRuling | None = None
        self._partitions: Partitions | None = None
        self._dispatch: Dispatch | None = None
        self._slow: SlowEnd | None = None
        self._audit: Audit | None = None
        self.recorder: Recorder | None = None
        self._stores = Stores(settings)
        self._follower: ControlFollower | None = None
        self._elsewhere: Elsewhere | None = None
        self.backbone = FaustBackbone(
            settings.backbone,
            partitions=settings.partitions,
            data_dir=settings.data_dir,
            durability=settings.durability,
            standbys=settings.standbys,
            security=settings.kafka,
        )
        self._telemetry.watch_lag(self.backbone.lag, self.backbone.stopped)
        self._telemetry.watch_topics(lambda: len(self.backbone.topic_findings()))

    def observe(self, observer: Observer) -> None:
        """Tell somebody else, too, what the loop does in this process."""
        self._observers.append(observer)

    async def start(self) -> None:
        """Start every role. Raises a SetpointError with the cure; then nothing runs."""
        switch_threads_soon()
        try:
            if "api" in self.roles:
                # First, because it may be in use: then nothing was opened that would have to be closed.
                self._door = Door.open(self.settings.listen_host, self.settings.listen_port)
                self._stack.callback(self._door.close)
            controls = await self._read_controls()
            self._look_elsewhere()
            self._begin_ruling()
            self._join(controls)
            # Readers write to the store until the backbone has stopped, so it is closed last.
            self._stack.push_async_callback(self._stores.close)
            self._stack.push_async_callback(self.backbone.stop)
            await self.backbone.start()
            self._spawn(self.backbone.watch())
            await self._begin_controls(controls)
            await self._open_store()
            await self._begin_slow_agents()
            self._started.set()
            await self._start_caretaker()
            await self._start_front()
            spare_the_collector()
        except BaseException:
            await self.stop()
            raise

    async def run(self) -> None:
        """Wait as long as all is well; raises what ended it."""
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
        return (*self.backbone.stopped().values(), *self._why_not_yet())

    def _why_not_yet(self) -> Sequence[str]:
        """What a start waits for. Not for a person's word on a partition that is stopped: REST is how it comes in."""
        if self._elsewhere is not None and self.roles & {"api", "triggers"} and (reasons := self._elsewhere.why_not()):
            return reasons
        if self._partitions is None:
            return ()
        owned = self._partitions.owned()
        if not owned:
            idle = self.backbone.stands_by() or self.backbone.stopped()
            return () if idle else ("no partition is owned by this process",)
        return (self.desk.problem,) if self.desk.problem else self._following.why_not(owned, self.desk.wanted)

    def _health(self) -> Sequence[str]:
        """What REST says. A start does not wait for an OPA, because that pulls from what is being started."""
        unruled = self._ruling.problem() if self._ruling is not None else ""
        return (*self.why_not_ready(), *([unruled] if unruled else []))

    @property
    def desk(self) -> ControlDesk:
        """The controls of this process, once it is starting."""
        assert self._desk is not None, "controls are there once the log is open"
        return self._desk

    async def _read_controls(self) -> ControlLog:
        """The controls of every kept revision, before a partition asks for them; where others can publish, by a reader
        that goes on hearing of theirs."""
        if self._is_alone and not _embedded_path(self.settings).exists():
            return ControlLog(compile_tools())
        reader = await asyncio.to_thread(open_reader, self.settings)
        if not self._is_alone:
            self._stack.callback(reader.close)
        try:
            controls = await asyncio.to_thread(ControlLog.from_reader, reader, compile_tools())
        finally:
            if self._is_alone:
                reader.close()
        if not self._is_alone:
            self._follower = ControlFollower(reader, controls)
        return controls

    def _look_elsewhere(self) -> None:
        if not self._is_alone:
            marks = open_marks(self.settings)
            self._stack.push_async_callback(marks.close)
            self._elsewhere = Elsewhere(marks.read, self.backbone.append, self.settings.partitions)

    def _begin_ruling(self) -> None:
        if "loop" in self.roles or ("api" in self.roles and self.settings.policy_engine != EMBEDDED):
            self._ruling = ruling_for(self.settings, self.roles)
            self._ruling.watched_by(self._telemetry)
            self._stack.push_async_callback(self._ruling.close)

    def _join(self, controls: ControlLog) -> None:
        if "loop" in self.roles:
            assert self._ruling is not None, "who rules is known before anybody is asked"
            self._partitions = Partitions(
                engine=self._ruling.engine,
                controls=controls,
                observer=self._observers,
                home=home_on(self.settings.partitions),
            )
            self.backbone.own_events(self._partitions)
            self._telemetry.watch_partitions(self._partitions.owned)
        if "agents" in self.roles:
            self._join_slow_agents(controls)
        if "executors" in self.roles:
            self.backbone.join("executors", [topics.COMMANDS], Waiting(self._started, lambda: self._dispatch))
        if "recorder" in self.roles:
            recorder = Waiting(self._started, lambda: self.recorder)
            self.backbone.join("recorder", RECORDED_TOPICS, recorder, gather_ms=GATHER_MS)

    def _join_slow_agents(self, controls: ControlLog) -> None:
        wanted = [controls.control_set(controls.wanted)] if controls.wanted is not None else []
        self._slow = SlowEnd(self.backbone, self._clock, self._slow_agent, is_alone=self._is_alone)
        self._slow.join([self.workspace.controls, *wanted], self._started)
        self._stack.push_async_callback(self._slow.close)
        self._telemetry.watch_slow_agents(self._slow.counts)

    async def _begin_slow_agents(self) -> None:
        following = await self._slow.begin(self.settings) if self._slow is not None else None
        if following is not None:
            self._spawn(following)

    async def _open_store(self) -> None:
        """Ledger and audit store; only once the log's lock is ours, because opening them says that others are gone."""
        if self.roles & {"recorder", "api"}:
            self._audit = await self._stores.audit()
            self.recorder = Recorder(self._audit)
        if "executors" in self.roles:
            await self._start_dispatch()

    @property
    def _is_alone(self) -> bool:
        """The embedded log's file lock says that no other process uses this data."""
        return self.settings.backbone.startswith("embedded://")

    async def _start_dispatch(self) -> None:
        ledger = await self._stores.ledger(sole=self._is_alone)
        self._dispatch = await start_dispatch(
            ledger,
            backbone=self.backbone,
            # Owners of one ledger end each other's leases, so they go by one clock: the database's.
            clock=self._clock if self._is_alone else SharedClock(await ledger.now_ms()),
            desk=self.desk,
            workspace=self.workspace,
            follower=self._follower,
        )
        self._stack.push_async_callback(self._dispatch.stop)
        self._telemetry.watch_dispatch(self._dispatch.counters)
        assert self._dispatch.failed is not None
        self._spawn(_ended(self._dispatch.failed))

    @property
    def _append(self) -> Append:
        """What comes in is appended by: not before there is a loop that can answer it."""
        return self._elsewhere.append if self._elsewhere is not None else self.backbone.append

    async def _begin_controls(self, controls: ControlLog) -> None:
        """What the workspace declares, or what was applied since; partitions adopt it."""
        ruling = self._ruling
        self._desk = ControlDesk(
            controls,
            backbone=self.backbone,
            clock=self._clock,
            check_tools=check_tools,
            load_policies=lambda policies: ruling.begin(controls, policies) if ruling is not None else None,
            change_policies=ruling.change if ruling is not None else None,
            owned=self._followed_here,
        )
        if self._follower is not None:
            # Other workers may have published since: what they did counts, and not what this one was started with.
            await self._follower.hear()
        self.beginning = await self._desk.begin(
            self.workspace.controls, publishes=not self._is_worker, has_loop="loop" in self.roles
        )
        if self._follower is not None:
            tail = open_tail(self.settings, self._follower.starts)
            self._spawn(self._follower.run(tail, self._clock, self._desk.heed))
        if self._elsewhere is not None:
            self._spawn(self._elsewhere.run(lambda: self.desk.wanted, self._clock))

    def _followed_here(self) -> Mapping[int, str]:
        """Who says when controls are in force: the partitions of this process, or without the loop those of others."""
        if self._partitions is not None:
            return self._partitions.owned()
        return self._elsewhere.revisions() if self._elsewhere is not None else {}

    async def _start_caretaker(self) -> None:
        if self._partitions is None:
            return
        caretaker = Caretaker(self.backbone, self._partitions, self._clock, lambda: self.desk.wanted)
        self._spawn(caretaker.run())
        self.desk.adopt = caretaker.look
        await until_ready(self._why_not_yet, lambda: self._tasks, self._clock)

    async def _start_front(self) -> None:
        """REST and triggers: the world comes in only once the loop can answer it."""
        front = Front(
            root=self.workspace.root,
            append=self._append,
            clock=self._clock,
            controls=self.desk.in_force,
            positions=self._stores.positions,
            count=self._telemetry.came_in,
        )
        triggers = TriggersEnd(lambda definition: front.build(definition, self.roles))
        self._stack.push_async_callback(triggers.stop)
        await (await triggers.prepare(self.desk.log.control_set(self.desk.wanted))).after()
        self._spawn(_ended(triggers.failed))
        self.desk.ends.append(triggers)
        if "api" in self.roles:
            # REST takes longest to load: in a thread, because the loop is at work by now.
            await asyncio.to_thread(import_module, "control_plane.bootstrap.rest")
            self.rest = self._rest_server(triggers.webhooks)
            await self.rest.start()
            self._stack.push_async_callback(self.rest.stop)
            if self._ruling is not None and self._ruling.bundles is not None:
                self._stack.callback(self._ruling.bundles.close)

    def _rest_server(self, webhooks: Mapping[str, Webhook]) -> "RestServer":
        # A process without REST does not pay for loading it.
        from control_plane.bootstrap.rest import rest_server

        assert self._audit is not None, "the api role opens the store"
        assert self._door is not None, "the address is taken first"
        return rest_server(
            self._door,
            settings=self.settings,
            workspace=self.workspace,
            desk=self.desk,
            audit=self._audit,
            append=self._append,
            go_on=self.backbone.go_on,
            health=self._health,
            owned=lambda: {number: found for number, found in self._followed_here().items() if found},
            dispatch=self._dispatch,
            bundles=self._ruling.bundles if self._ruling is not None else None,
            metrics=self._telemetry.registry,
            webhooks=webhooks,
        )

    def _slow_agent(self, name: str) -> Any:
        found = self.desk.in_force().agent(name)
        return found.agent if found is not None and found.slow else None

    def _spawn(self, running: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.create_task(running))


async def _ended(failed: "asyncio.Future[None]") -> None:
    """Raises what stopped dispatch; waits as long as it works."""
    await asyncio.shield(failed)


def _embedded_path(settings: Settings) -> Path:
    return Path(settings.backbone.removeprefix("embedded://").partition("?")[0])
