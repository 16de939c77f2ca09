"""What commands act on: targets that count by themselves, that fail, lose answers, and know nothing of processes.

An attempt is a request that travels, an act at one instant, and an answer that travels back. The act happens even if
whoever asked has died meanwhile.
"""

import asyncio
from collections.abc import Callable
from random import Random

from msgspec import Struct

from control_plane.messages import Command
from control_plane.ports.executor import Attempt, Found
from control_plane.simulation.event_loop import Process, VirtualLoop
from control_plane.simulation.plan import Setting
from control_plane.simulation.trace import Trace
from control_plane.simulation.wire import Wire

ATTEMPT_TIMEOUT_S = 2.0
TRAVEL_S_MAX = 0.4
LATE_S_MAX = 0.9
"""How much later than its attempt's end a request may still arrive; executors say a longer time to settle."""


class Effect(Struct, frozen=True, kw_only=True, gc=False):
    """One thing that was done in the world, once."""

    at_us: int
    key: str
    subject: str
    intent: str


class Asked(Struct, frozen=True, kw_only=True, gc=False):
    """One attempt, as the target's door saw it: by whom, and what that one's clock said."""

    at_us: int
    by_clock_ms: int
    command: Command
    process: str


class World:
    """All targets of a run. `mood` is `fine`, `hang` or `refuse`."""

    def __init__(self, loop: VirtualLoop, trace: Trace, random: Random, setting: Setting) -> None:
        self.effects: list[Effect] = []
        self.asked: list[Asked] = []
        self.keys: set[str] = set()
        self.mood = "fine"
        self.setting = setting
        self._loop = loop
        self._trace = trace
        self._random = random

    def arrive(self, command: Command, answer: Callable[[Attempt], None]) -> None:
        """A request is here; `answer` is called with what the door says, unless that is lost."""
        draw = self._random.random()
        if self.mood == "refuse" or draw < 0.03:
            answer(Attempt(result="nothing_done", detail="429"))
        elif draw < 0.05:
            answer(Attempt(result="failed", detail="422"))
        elif self.mood == "hang" or draw < 0.07:
            self._trace.fault("lost on the way there", "target")
        else:
            self._act(command)
            if draw < 0.12:
                self._trace.fault("answer of a target lost", "target")
            elif draw < 0.15:
                self._trace.fault("500 after the act", "target")
                answer(Attempt(result="unknown", detail="500"))
            else:
                answer(Attempt(result="succeeded", detail="done"))

    def travel_s(self) -> float:
        """How long a request or an answer is under way."""
        drawn = self._random.random()
        if drawn < 0.03:
            self._trace.fault("request late", "target")
            return ATTEMPT_TIMEOUT_S + LATE_S_MAX * self._random.random()
        return TRAVEL_S_MAX * drawn * drawn

    def in_world(self, after_s: float, act: Callable[[], None]) -> None:
        """Have something happen that nobody's death prevents."""
        self._loop.spawn(self._loop.world, _later(after_s, act))

    def _act(self, command: Command) -> None:
        key = command.lineage.message_id
        self._trace.note("target", f"does {command.intent} (command {key[:8]})", command.subject)
        if command.idempotent and key in self.keys:
            return  # Such a target knows its keys.
        self.keys.add(key)
        self.effects.append(Effect(at_us=self._loop.now_us, key=key, subject=command.subject, intent=command.intent))


class SimulatedExecutor:
    """The Executor port of one process: asks the targets of the world."""

    def __init__(self, name: str, world: World, wire: Wire, process: Process, now_ms: Callable[[], int]) -> None:
        self.name = name
        self.attempt_timeout_s = ATTEMPT_TIMEOUT_S
        self.settle_s = world.setting.settle_s
        self.attempts_max = world.setting.attempts_max
        self.backoff_s = 0.3
        self.concurrency_max = 8
        self._world = world
        self._wire = wire
        self._process = process
        self._now_ms = now_ms

    async def start(self) -> None:
        """Nothing to open."""

    async def stop(self) -> None:
        """Nothing to close."""

    async def execute(self, command: Command) -> Attempt:
        """One request."""
        world, loop = self._world, asyncio.get_running_loop()
        world.asked.append(
            Asked(
                at_us=round(loop.time() * 1e6),
                by_clock_ms=self._now_ms(),
                command=command,
                process=repr(self._process),
            )
        )
        await self._wire.call(self._process, "target.ask", lambda: None)
        answered: asyncio.Future[Attempt] = loop.create_future()

        def answer(attempt: Attempt) -> None:
            world.in_world(world.travel_s(), lambda: None if answered.done() else answered.set_result(attempt))

        world.in_world(world.travel_s(), lambda: world.arrive(command, answer))
        attempt = await answered
        await self._wire.call(self._process, "target.answer", lambda: None)
        return attempt

    async def reconcile(self, command: Command) -> Found:
        """Look whether it was done."""
        done: bool = await self._wire.call(
            self._process, "target.look", lambda: command.lineage.message_id in self._world.keys
        )
        return Found(state="done" if done else "absent", detail="looked")


async def _later(after_s: float, act: Callable[[], None]) -> None:
    await asyncio.sleep(after_s)
    act()
