"""The policy engine of one simulated process: the real one, but now and then it is away, slow, undefined or garbled.

Whatever is no clear answer reaches the loop as the port says: a deny with the problem in it.
"""

import asyncio
from random import Random

from control_plane.messages import Question, Ruling
from control_plane.ports.policy_engine import RULING_TIMEOUT_MS, PolicyEngine, PolicySet
from control_plane.simulation.event_loop import Process
from control_plane.simulation.trace import Trace

ASKED_AGAIN_MAX = 20

PROBLEMS = {
    "engine down": "connection refused",
    "engine slow": f"no answer within {RULING_TIMEOUT_MS} ms",
    "engine undefined": "the decision is undefined",
    "engine garbage": "the answer is no ruling",
}


class PatientEngine:
    """The real engine, asked again where it took too long: what a run comes to must not hang on a busy machine."""

    def __init__(self, engine: PolicyEngine) -> None:
        self.concurrent = engine.concurrent
        self._engine = engine

    async def rule(self, question: Question, policies: PolicySet) -> Ruling:
        """The ruling, however long it takes."""
        ruling = await self._engine.rule(question, policies)
        for _ in range(ASKED_AGAIN_MAX):
            if ruling.problem is None or "processor time" not in ruling.problem:
                break
            ruling = await self._engine.rule(question, policies)
        return ruling


class Mood:
    """How the engines of a run are, all of them alike. Empty means well."""

    def __init__(self) -> None:
        self.now = ""


class SimulatedEngine:
    """The PolicyEngine port."""

    def __init__(
        self, engine: PolicyEngine, mood: Mood, trace: Trace, random: Random, process: Process, concurrent: bool
    ) -> None:
        self.concurrent = concurrent
        self._engine = engine
        self._mood = mood
        self._trace = trace
        self._random = random
        self._process = process

    async def rule(self, question: Question, policies: PolicySet) -> Ruling:
        """The ruling, or that there was none."""
        if self.concurrent:
            await asyncio.sleep(0.003 * self._random.random())
        mood = self._mood.now
        if not mood:
            return await self._engine.rule(question, policies)
        if mood == "engine slow" and self._random.random() < 0.4:
            await asyncio.sleep(RULING_TIMEOUT_MS / 2000)
            return await self._engine.rule(question, policies)
        if mood in ("engine slow", "engine down"):
            await asyncio.sleep(RULING_TIMEOUT_MS / 1000)
        self._trace.fault(mood, repr(self._process), question.id[:8])
        return Ruling.none(PROBLEMS[mood], policies.revision)
