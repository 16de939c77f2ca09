"""The loop in memory under a virtual clock, so that a test of an own agent is ten lines.

The stages, guards and rules are those of production; policy and executors are functions of the test. Nothing is
durable, and nothing has an effect on the world. The one module of the SDK that is not for agents to import.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, cast

from agents.rules import Rule
from control_plane.causality import Lineage
from control_plane.cycle import Cycle
from control_plane.durations import parse_duration_ms
from control_plane.loop.step import Said
from control_plane.messages import (
    Command,
    Context,
    Decision,
    Effect,
    Event,
    Learnt,
    Outcome,
    Question,
    Reason,
    Ruling,
    Verdict,
    topics,
)
from control_plane.messages.outcome import Status
from control_plane.messages.wire import decode, decode_event, encode_context, utc
from control_plane.ports.backbone import Output, Position, Record
from control_plane.sdk.agent import Agent, SlowAgent
from control_plane.sdk.declared import Declarations, controls_of
from control_plane.sdk.testing_model import Model as Model  # for tests of agents that ask one
from control_plane.slow_agents import SlowAgents, SlowCounts, Tools, ToolsLog
from control_plane.slow_agents.journal import Outside

START_MS = 1_767_225_600_000
"""Where virtual time begins: 2026-01-01T00:00:00Z."""

MISTAKES = frozenset({"agent_failed", "agent_nonsense", "tool_missing"})
"""Codes of answers that nobody wants of an agent, whatever the world is like."""

Message = Said | Outcome
T = TypeVar("T", Context, Decision, Verdict, Command, Outcome, Effect)


def allow(question: Question) -> Ruling:
    """A policy that allows everything."""
    return Ruling(answer="allow", reasons=(Reason("allowed", "the test allows it", "test"),), revision="test")


def deny(question: Question) -> Ruling:
    """A policy that allows nothing."""
    return Ruling(answer="deny", reasons=(Reason("denied", "the test denies it", "test"),), revision="test")


def succeed(command: Command) -> Status:
    """An executor that always succeeds."""
    return "succeeded"


class Refused(AssertionError):
    """An event that the loop would not fold, or an agent that failed on one: in a test both are mistakes."""


class Loop:
    """Events in, messages out. Everything that was said is kept, in order, in `messages`."""

    def __init__(
        self,
        *agents: Agent | SlowAgent,
        declarations: Declarations = (),
        policy: Callable[[Question], Ruling] = allow,
        executor: Callable[[Command], Status] = succeed,
        subject_kind: str = "service",
        tools: Tools | None = None,
        prompts: Mapping[str, str] | None = None,
    ) -> None:
        """A loop with these agents.

        Args:
            agents: Python agents under test.
            declarations: intents, rows, fleets, tables and rules as YAML or as files, Python agents as files, or the
                folder of a whole workspace.
            policy: rules on every decision that no guard stops.
            executor: carries out every command at once.
            prompts: texts of prompts by name, for agents that ask a language model.
            tools: what slow agents may ask, by name; what they learn is in `learnt`, why they could not decide in
                `silences`.
            subject_kind: for intents that agents and rules name and nobody declares: they are declared without limits.
        """
        self.messages: list[Message] = []
        self.learnt: list[Learnt] = []
        self.silences: list[str] = []
        self.now_ms = START_MS
        self._tools = tools or {}
        self._tools_log = ToolsLog()
        self._cycle = Cycle(controls_of(agents, declarations, subject_kind, prompts or {}), policy, executor)
        self._events = 0

    @property
    def contexts(self) -> list[Context]:
        """What slow agents were shown."""
        return self._said(Context)

    @property
    def decisions(self) -> list[Decision]:
        """What was proposed."""
        return self._said(Decision)

    @property
    def verdicts(self) -> list[Verdict]:
        """What became of each decision."""
        return self._said(Verdict)

    @property
    def commands(self) -> list[Command]:
        """What was allowed."""
        return self._said(Command)

    @property
    def outcomes(self) -> list[Outcome]:
        """What came of each command."""
        return self._said(Outcome)

    @property
    def effects(self) -> list[Effect]:
        """What was judged of each action when its window closed."""
        return self._said(Effect)

    def send(
        self, event_type: str, subject: str, data: Mapping[str, Any] | None = None, *, late: str = "0s"
    ) -> list[Message]:
        """Take an event round the loop, now; it happened `late` ago. Gives what was said because of it.

        Raises Refused when the event is refused, or an agent fails on it.
        """
        self._events += 1
        event = Event(
            lineage=Lineage.root("test", f"event/{self._events}"),
            type=event_type,
            subject=subject,
            occurred_at=utc(self.now_ms - parse_duration_ms(late)),
            data=dict(data or {}),
        )
        return self._feed(event)

    def wait(self, duration: str) -> list[Message]:
        """Let time pass; whatever is due on the way happens at its time. Gives what was said."""
        until_ms = self.now_ms + parse_duration_ms(duration)
        said: list[Message] = []
        while (due_ms := self._next_due_ms()) is not None and due_ms <= until_ms:
            self.now_ms = max(self.now_ms, due_ms)
            said += self._take(list(self._cycle.tick(self.now_ms)))
        self.now_ms = until_ms
        return said

    def row(self, subject: str, part: str) -> Mapping[str, Any]:
        """A part of a subject's row as agents see it now; empty when nothing was folded into it."""
        row = self._cycle.rows.get(subject)
        if row is None or part not in row.parts:
            return {}
        return self._cycle.controls.projections[part].view(row.parts[part], self.now_ms)

    def state(self, rule: str, subject: str) -> str:
        """What a rule is on a subject now: `inactive`, `pending` or `firing`."""
        found = self._cycle.controls.agent(rule)
        assert found is not None, f"there is no rule {rule}"
        assert isinstance(found.agent, Rule), f"{rule} is no rule"
        row = self._cycle.rows.get(subject)
        return found.agent.state(row.own.get(rule) if row is not None else None, self.now_ms)

    def _feed(self, event: Event) -> list[Message]:
        return self._take(list(self._cycle.feed(event, self.now_ms)))

    def _take(self, said: list[Message]) -> list[Message]:
        """Keep what was said, and let slow agents answer to it."""
        self._raise_refusals()
        self.messages += said
        for context in [message for message in said if isinstance(message, Context)]:
            said += self._feed(self._answer(context))
        return said

    def _answer(self, context: Context) -> Event:
        answers: list[Output] = []

        async def keep(outputs: Sequence[Output]) -> Sequence[Position]:
            answers.extend(outputs)
            return [Position(output.topic, 0, 0) for output in outputs]

        def find(name: str) -> SlowAgent | None:
            found = self._cycle.controls.agent(name)
            return cast(SlowAgent, found.agent) if found is not None and found.slow else None

        raw = encode_context(context)
        record = Record(topic=topics.CONTEXTS, partition=0, offset=0, key=b"", value=raw, recorded_ms=self.now_ms)
        outside = Outside(
            append=keep, clock=_Standing(self.now_ms), log=self._tools_log, tools=self._tools, counts=SlowCounts()
        )
        _wait_for(SlowAgents(find, outside).take(topics.CONTEXTS, 0, [record]))
        self.learnt += [decode(found.value, Learnt) for found in answers if b'"type":"tool.result"' in found.value]
        event = decode_event(answers[-1].value, self.now_ms)
        code, problem = event.data["code"], event.data["problem"]
        if code in MISTAKES:
            raise Refused(f"{context.agent}: {problem}")
        if code:
            self.silences.append(f"{code}: {problem}")
        return event

    def _raise_refusals(self) -> None:
        refusals = [*self._cycle.refused, *(failure.reason for failure in self._cycle.failures)]
        self._cycle.refused.clear()
        self._cycle.failures.clear()
        if refusals:
            raise Refused("; ".join(f"{refusal.code}: {refusal.detail}" for refusal in refusals))

    def _next_due_ms(self) -> int | None:
        waiting = [row.due_ms() for row in self._cycle.rows.values()]
        return min((due_ms for due_ms in waiting if due_ms is not None), default=None)

    def _said(self, kind: type[T]) -> list[T]:
        return [message for message in self.messages if isinstance(message, kind)]


class _Standing:
    """A clock that stands still: in a test an answer takes no time."""

    def __init__(self, now_ms: int) -> None:
        self._now_ms = now_ms

    def now_ms(self) -> int:
        return self._now_ms

    async def sleep(self, seconds: float) -> None:
        """Nobody waits in a test."""


def _wait_for(answering: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine to its end, inside a running event loop or not."""
    with ThreadPoolExecutor(max_workers=1) as apart:
        apart.submit(asyncio.run, answering).result()
