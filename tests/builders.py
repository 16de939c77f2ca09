"""Builders that hide what does not matter to a test, and fakes of the two ports that tests answer for."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from agents.rules import Rule
from control_plane.adapters.cel import CelExpressions
from control_plane.adapters.jsonschema import JsonSchemas
from control_plane.adapters.memory.clock import START_MS
from control_plane.catalogue import ControlItem, Controls, ControlSet
from control_plane.catalogue.definitions import RuleInForce
from control_plane.causality import Lineage
from control_plane.causality.lineage import SOURCE, trail_step
from control_plane.messages import Command, Decision, Event, Outcome, Question, Reason, Ruling, topics
from control_plane.messages.event import (
    CONTROLS_ADOPTED,
    PARTITION_SUMMARISED,
    SUBJECT_REGISTERED,
    SUBJECT_RETIRED,
    TICK,
)
from control_plane.messages.outcome import Status
from control_plane.messages.summary import FleetCount, PartitionsSummary
from control_plane.messages.wire import encode_event, utc
from control_plane.ports.backbone import Output, Record
from control_plane.ports.policy_engine import PolicySet
from control_plane.workspace.compiling import Tools, compile_controls
from control_plane.workspace.python_agents import load_agent
from state.rows import LiveCommand

NOW_MS = START_MS
WEB_1 = "service/web-1"

EXPRESSIONS = CelExpressions()


def a_rule(item: ControlItem) -> Rule:
    """The agent that a rule item stands for."""
    return Rule(msgspec.json.decode(item.body, type=RuleInForce), EXPRESSIONS)


TOOLS = Tools(expressions=EXPRESSIONS, schemas=JsonSchemas(), agents={"rule": a_rule, "agent": load_agent})


def item(kind: str, name: str, body: Mapping[str, Any] | str) -> ControlItem:
    """A control item; a mapping becomes canonical JSON."""
    text = body if isinstance(body, str) else msgspec.json.encode(body, order="deterministic").decode()
    return ControlItem(kind, name, text)


def intent(name: str = "restart_service", **changes: Any) -> ControlItem:
    """An intent for services without limits."""
    return item("intent", name, {"intent": name, "subject_kind": "service", "executor": "dry_run", **changes})


def row(name: str = "health", **changes: Any) -> ControlItem:
    """A row part that keeps the last rss of `service.measured`."""
    body = {"row": name, "on": ["service.measured"], "fields": {"rss": {"last": "data.rss"}}, **changes}
    return item("row", name, body)


def fleet(name: str = "web", members: str = 'subject.kind == "service"', **changes: Any) -> ControlItem:
    """A fleet of all services."""
    return item("fleet", name, {"fleet": name, "members": members, **changes})


HUGE = {f"note_{number}": "x" * 16_000 for number in range(5)}
"""Data that a row with `NOTES` has no room for, although each value has."""

NOTES = {name: {"last": {"of": f"data.{name}", "bytes_max": 16_384}} for name in HUGE}


def rule(name: str = "memory_guard", *, propose: Mapping[str, Any] | None = None, **changes: Any) -> ControlItem:
    """A rule that proposes to restart a service when its rss is above 400."""
    body = {
        "rule": name,
        "version": "1.0.0",
        "on": "service.measured",
        "when": "data.rss > 400.0",
        "propose": {"intent": "restart_service", "because": "rss {data.rss} is too much", **(propose or {})},
        **changes,
    }
    return item("rule", name, body)


def agent(name: str, decide: str, *, base: str = "Agent", **attributes: Any) -> ControlItem:
    """A Python agent whose `decide` has this body; with base `SlowAgent`, one that decides apart."""
    settings = {
        "name": name,
        "version": "1.0.0",
        "listens_to": ("service.measured",),
        "intents": ("restart_service",),
        **attributes,
    }
    lines = [f"from control_plane.sdk import {base}", f"class Written({base}):"]
    lines += [f"    {key} = {value!r}" for key, value in settings.items()]
    lines += [f"    {'async ' if base == 'SlowAgent' else ''}def decide(self, context):"]
    lines += [f"        {line}" for line in decide.splitlines()]
    return item("agent", name, "\n".join(lines) + "\n")


def control_set(*items: ControlItem) -> ControlSet:
    """A control set; without items: one intent, one row, one rule."""
    return ControlSet.of(items or (intent(), row(), rule()))


def controls(*items: ControlItem) -> Controls:
    """A control set, compiled."""
    return compile_controls(control_set(*items), TOOLS)


class ControlsAt:
    """A ControlsSource of control sets that a test has made."""

    def __init__(self, *sets: ControlSet) -> None:
        self._controls = {found.revision: compile_controls(found, TOOLS) for found in sets}

    def at(self, revision: str) -> Controls:
        """The controls of a revision."""
        return self._controls[revision]


def event(
    event_type: str = "service.measured",
    data: Mapping[str, Any] | None = None,
    *,
    subject: str = WEB_1,
    message_id: str = "e1",
    source: str = "test",
    at_ms: int = NOW_MS,
    lineage: Lineage | None = None,
) -> Event:
    """An event from outside."""
    return Event(
        lineage=lineage or Lineage.root(source, message_id),
        type=event_type,
        subject=subject,
        occurred_at=utc(at_ms),
        data=dict(data or {}),
    )


def tick(partition: int = 0, at_ms: int = NOW_MS) -> Event:
    """What a partition's owner appends while timers wait."""
    return event(TICK, subject=f"partition/{partition}", message_id=f"tick/{at_ms}", source=SOURCE, at_ms=at_ms)


def adopted(revision: str, partition: int = 0, at_ms: int = NOW_MS) -> Event:
    """What a partition's owner appends when other controls are wanted."""
    return event(
        CONTROLS_ADOPTED,
        {"revision": revision},
        subject=f"partition/{partition}",
        message_id=f"adopted/{revision}/{at_ms}",
        source=SOURCE,
        at_ms=at_ms,
    )


def registered(subject: str = WEB_1, *, message_id: str = "", at_ms: int = NOW_MS) -> Event:
    """From here on the subject counts in its fleets."""
    return event(SUBJECT_REGISTERED, subject=subject, message_id=message_id or f"registered/{subject}", at_ms=at_ms)


def retired(subject: str = WEB_1, *, message_id: str = "", at_ms: int = NOW_MS) -> Event:
    """From here on it counts in none."""
    return event(SUBJECT_RETIRED, subject=subject, message_id=message_id or f"retired/{subject}", at_ms=at_ms)


def summarised(
    counts: Mapping[int, Mapping[str, FleetCount]] | None = None,
    *,
    partitions: int = 1,
    heard: Mapping[str, int] | None = None,
    partition: int = 0,
    at_ms: int = NOW_MS,
) -> Event:
    """What an owner tells a partition of the partitions that it owns."""
    of = {str(number): dict(found) for number, found in (counts or {}).items()}
    summary = PartitionsSummary(partitions=partitions, counts=of, heard=dict(heard or {}))
    return event(
        PARTITION_SUMMARISED,
        msgspec.to_builtins(summary),
        subject=f"partition/{partition}",
        message_id=f"summarised/{at_ms}",
        source=SOURCE,
        at_ms=at_ms,
    )


def outcome(command: Command, status: Status = "succeeded", *, at_ms: int = NOW_MS) -> Outcome:
    """What came of a command."""
    return Outcome(
        lineage=command.lineage.returning("outcome", trail_step(command.agent, command.subject, command.intent)),
        subject=command.subject,
        occurred_ms=at_ms,
        command_id=command.lineage.message_id,
        decision_id=command.decision_id,
        agent=command.agent,
        intent=command.intent,
        action_class=command.action_class,
        executor=command.executor,
        status=status,
        attempts=1,
    )


def live_command(decision: Decision, action_class: str = "restart_service") -> LiveCommand:
    """The command of a decision, as a row knows it while it is under way."""
    return LiveCommand(
        command_id="command",
        decision_id=decision.lineage.message_id,
        agent=decision.agent,
        intent=decision.intent,
        action_class=action_class,
        since_ms=decision.occurred_ms,
        deadline_ms=decision.occurred_ms + 30_000,
        expects=decision.expects,
    )


def output(found: Event, partition: int | None = None) -> Output:
    """An event on its way to `events.v1`."""
    return Output(topics.EVENTS, found.subject.encode(), encode_event(found), partition)


def record(value: bytes | Event, offset: int = 0, *, recorded_ms: int = NOW_MS, partition: int = 0) -> Record:
    """A record of `events.v1`."""
    raw = encode_event(value) if isinstance(value, Event) else value
    return Record(
        topic=topics.EVENTS, partition=partition, offset=offset, key=b"key", value=raw, recorded_ms=recorded_ms
    )


Answering = Callable[[Question], Ruling]


def allow(question: Question) -> Ruling:
    """Everything is allowed."""
    return Ruling(answer="allow", reasons=(Reason("fine", "nothing speaks against it", "test"),), revision="p1")


def deny(question: Question) -> Ruling:
    """Nothing is allowed."""
    return Ruling(answer="deny", reasons=(Reason("never", "a test does not want it", "test"),), revision="p1")


class ScriptedEngine:
    """A policy engine that answers as a function says."""

    concurrent = False

    def __init__(self, answer: Answering = allow) -> None:
        self._answer = answer

    async def rule(self, question: Question, policies: PolicySet) -> Ruling:
        """The function's ruling."""
        return self._answer(question)
