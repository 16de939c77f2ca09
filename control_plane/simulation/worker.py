"""One simulated process of Setpoint: the real roles, wired to a simulated world. It dies, and is started again."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from random import Random
from typing import Any, Final

from msgspec import Struct

from control_plane.caretaker import TICK_INTERVAL_S, Caretaker
from control_plane.errors import ContinuityBroken, TemporaryError
from control_plane.joints import Replies, Waiting
from control_plane.messages import Command, Context, Decision, topics
from control_plane.partition import Partitions
from control_plane.ports.agent import SlowAgent
from control_plane.simulation.backbone import SimulatedBackbone, Stage
from control_plane.simulation.engine import Mood, SimulatedEngine
from control_plane.simulation.event_loop import Process
from control_plane.simulation.ledger import Books, SimulatedLedger, WiredLedger
from control_plane.simulation.ports import DispatchRole, Parts, Subject
from control_plane.simulation.world import SimulatedExecutor, World
from control_plane.slow_agents import SlowAgents, SlowCounts, ToolsLog
from control_plane.slow_agents.journal import Outside

IDLE_S: Final = 0.4
"""How long a caretaker may sleep while nothing waits for time; less than what it takes for having been held up."""

LEASE_S: Final = 6.0

EXECUTORS_SKEW_MS_MAX: Final = 1_500
"""How far the clocks of executors are off at most: leases in the ledger, deadlines and what is forgotten go by them,
and with clocks that differ by more than a lease nothing can be promised. The loop's clock may be off by a day."""

BOUNDS: Final = {
    "reconcile_for_s": 20.0,
    "begun_age_s_max": 1.0,
    "sweep_s": 1.5,
    "retry_max_s": 1.0,
    "stop_grace_s": 3.0,
}
"""Shorter than in production, so that a run is."""


class House(Struct, frozen=True, kw_only=True):
    """What all processes of a run share, beyond the log. `wanted` is the revision that partitions should follow."""

    stage: Stage
    subject: Subject
    parts: Parts
    world: World
    books: Books
    mood: Mood
    random: Random
    wanted: Callable[[], str]
    halted: Callable[[Command], str | None]
    alone: bool


class Worker:
    """A process with all roles. `run` is its first task; whatever ends it ends the process."""

    def __init__(self, house: House, process: Process) -> None:
        self.process = process
        self.backbone = SimulatedBackbone(house.stage, process)
        self._house = house
        self._clock = ProcessClock(house, process)
        self._executors_clock = ProcessClock(house, process, skew_ms_max=EXECUTORS_SKEW_MS_MAX)
        self._started = asyncio.Event()
        self._dispatch: DispatchRole | None = None

    async def run(self) -> None:
        """Start every role and go on. Whatever is expected ends the process; anything else is a problem of the run."""
        house = self._house
        try:
            await self._live()
        except TemporaryError as exc:
            house.stage.trace.note(repr(self.process), f"ends: {exc}")
        except ContinuityBroken as exc:
            house.stage.trace.note(repr(self.process), f"refuses: {exc}")
        except Exception as exc:  # noqa: BLE001 - a bug of ours must be told, not stop the simulation
            house.stage.loop.problems.append(f"{self.process!r} ended with {type(exc).__name__}: {exc}")
        house.stage.loop.kill(self.process)

    async def stop(self) -> None:
        """As on SIGTERM."""
        if self._dispatch is not None:
            await self._dispatch.stop()
        await self.backbone.stop()

    async def _live(self) -> None:
        house, setting = self._house, self._house.stage.setting
        partitions = Partitions(
            engine=SimulatedEngine(
                house.parts.engine(),
                house.mood,
                house.stage.trace,
                house.random,
                self.process,
                setting.concurrent_engine,
            ),
            controls=house.subject.controls,
        )
        self.backbone.own_events(partitions)
        slow = SlowAgents(self._slow_agent, self._outside())
        self.backbone.join("agents", [topics.CONTEXTS], Waiting(self._started, lambda: slow))
        self.backbone.join("executors", [topics.COMMANDS], Waiting(self._started, lambda: self._dispatch))
        await self.backbone.start()
        self._dispatch = self._make_dispatch()
        await self._dispatch.start()
        assert self._dispatch.failed is not None
        self._started.set()
        caretaker = Caretaker(self.backbone, partitions, _CaretakersClock(self._clock, partitions), house.wanted)
        running: list[Coroutine[Any, Any, Any]] = [
            caretaker.run(),
            self.backbone.watch(),
            _ended(self._dispatch.failed),
        ]
        done, _ = await asyncio.wait([asyncio.create_task(one) for one in running], return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    def _outside(self) -> Outside:
        tools_log = ToolsLog()
        tools_log.read_back(self._house.stage.log, self._clock.now_ms())
        return Outside(
            append=self.backbone.append, clock=self._clock, log=tools_log, tools={}, counts=SlowCounts(), followed=False
        )

    def _make_dispatch(self) -> DispatchRole:
        house, replies = self._house, Replies(self.backbone)
        ledger = SimulatedLedger(house.books, lease_s=LEASE_S, sole=house.alone)
        return house.parts.dispatch(
            ledger=WiredLedger(ledger, lambda name, act: house.stage.wire.call(self.process, name, act)),
            executors={
                name: SimulatedExecutor(name, house.world, house.stage.wire, self.process, self._executors_clock.now_ms)
                for name in house.subject.executors
            },
            clock=self._executors_clock,
            publish=replies.publish,
            dead_letter=replies.bury,
            halted=house.halted,
            bounds=BOUNDS,
        )

    def _slow_agent(self, name: str) -> SlowAgent | None:
        found = self._house.subject.controls.at(self._house.wanted()).agent(name)
        return None if found is None or not found.slow else _Moody(found.agent, self._house)


class ProcessClock:
    """The Clock port: time as this process's machine tells it."""

    def __init__(self, house: House, process: Process, skew_ms_max: int | None = None) -> None:
        self._skew_ms_max = skew_ms_max
        self._loop = house.stage.loop
        self._start_ms = house.stage.setting.start_ms
        self._process = process

    def now_ms(self) -> int:
        """Milliseconds since the epoch, by a clock that may be wrong."""
        skew_ms, most_ms = self._process.skew_ms, self._skew_ms_max
        skew_ms = skew_ms if most_ms is None else max(-most_ms, min(most_ms, skew_ms))
        return self._start_ms + self._loop.now_us // 1000 + skew_ms

    async def sleep(self, seconds: float) -> None:
        """Wait; a wrong clock runs no faster."""
        await asyncio.sleep(seconds)


class _CaretakersClock:
    """Sleeps longer while nothing waits for time: a run is mostly that."""

    def __init__(self, clock: ProcessClock, partitions: Partitions) -> None:
        self._clock = clock
        self._partitions = partitions
        self.now_ms = clock.now_ms

    async def sleep(self, seconds: float) -> None:
        """At least so long, unless something is due before."""
        now_ms = self._clock.now_ms()
        due = [due_ms for number in self._partitions.owned() if (due_ms := self._partitions.due_ms(number)) is not None]
        idle_s = min([IDLE_S, *((due_ms - now_ms) / 1000 for due_ms in due)]) if seconds == TICK_INTERVAL_S else 0
        await self._clock.sleep(max(seconds, idle_s))


class _Moody:
    """In the place of a slow agent: answers late, never, with an error or with nonsense, and sometimes well. What it
    says follows from what it learns through its journal, as with a language model."""

    decide_timeout_s = 3.0

    def __init__(self, agent: Any, house: House) -> None:
        self.name: str = agent.name
        self.version: str = agent.version
        self.listens_to: tuple[str, ...] = tuple(agent.listens_to)
        self.reads: tuple[str, ...] = tuple(agent.reads)
        self.intents: tuple[str, ...] = tuple(agent.intents)
        self._house = house

    async def decide(self, context: Context) -> Sequence[Decision]:
        """Something, or nothing."""
        assert context.journal is not None, "a slow agent is given a journal"
        learnt = await context.journal.learn("model", {"event": context.event.lineage.message_id}, self._model)
        if learnt["intent"] is None:
            return ()
        return [context.propose(learnt["intent"], because="the model says so")]

    async def _model(self) -> Mapping[str, Any]:
        random, trace = self._house.random, self._house.stage.trace
        draw = random.random()
        if draw < 0.1:
            trace.fault("model hangs", self.name)
            await asyncio.sleep(60.0)
        await asyncio.sleep(2.0 * random.random())
        if draw < 0.2:
            trace.fault("model raises", self.name)
            raise RuntimeError("no answer from the model")
        if draw < 0.3:
            trace.fault("model is hostile", self.name)
            return {"intent": "drop_all_tables"}
        return {"intent": random.choice(self.intents) if draw < 0.8 and self.intents else None}


async def _ended(failed: "asyncio.Future[None]") -> None:
    """Raises what stopped dispatch; waits as long as it works."""
    await asyncio.shield(failed)
