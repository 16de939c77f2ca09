"""Control items in, controls in force out. The items were checked when they were published, so a failure here is a bug
or a log from a newer Setpoint."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from control_plane.catalogue import AgentInForce, ControlItem, Controls, ControlSet, Fleet, Fleets, Intent
from control_plane.catalogue.controls import REVISION_CHARS, Policies
from control_plane.catalogue.definitions import (
    CountDefinition,
    FieldDefinition,
    FleetDefinition,
    IntentDefinition,
    KeptDefinition,
    QuantileDefinition,
    RowDefinition,
    RuleInForce,
    SeenDefinition,
    WindowDefinition,
)
from control_plane.catalogue.llm import GrantedIntent, LlmInForce
from control_plane.catalogue.reference import REFERENCE, WithReference, tables_of
from control_plane.causality import digest
from control_plane.durations import parse_duration_ms
from control_plane.ports.agent import Agent
from control_plane.ports.expressions import ExpressionMiss, Expressions
from control_plane.ports.schemas import SchemaLanguage
from state.projections import KINDS, WINDOW_MS_MIN, Field, Projection, Window
from state.projections.declared import ReadValue

LLM: Final = "llm"
PROMPT: Final = "prompt"
"""Kinds of items: an agent that asks a language model, and what it is asked with."""


class Tools(Struct, frozen=True, kw_only=True):
    """What compiling needs of the world. `agents` builds an agent of a kind (`rule`, `llm`, `agent`)
    from an item as it is in force."""

    expressions: Expressions
    schemas: SchemaLanguage
    agents: Mapping[str, Callable[[ControlItem], Agent]]


def compile_controls(controls: ControlSet, tools: Tools) -> Controls:
    """The controls that a set stands for."""
    tables = tables_of(controls.of_kind(REFERENCE))
    table_revisions = {item.name: item.revision for item in controls.of_kind(REFERENCE)}
    if tables:
        tools = replace(tools, expressions=WithReference(tools.expressions, tables))
    intents = _intents(controls)
    prompts = {item.name: item.body for item in controls.of_kind(PROMPT)}
    projections = [compile_row(item, tools) for item in controls.of_kind("row")]
    fleets = [compile_fleet(item, tools, table_revisions) for item in controls.of_kind("fleet")]
    return Controls(
        revision=controls.revision,
        intents=[compile_intent(item, tools) for item in controls.of_kind("intent")],
        projections=projections,
        agents=[
            compile_agent(item, tools, intents, prompts) for kind in tools.agents for item in controls.of_kind(kind)
        ],
        schemas={item.name: tools.schemas.compile(_json(item)) for item in controls.of_kind("schema")},
        policies=Policies.of(controls),
        expressions=tools.expressions,
        fleets=Fleets(fleets, tools.expressions, projections, are_read=bool(fleets) and _read_in_rules(controls)),
    )


def _read_in_rules(controls: ControlSet) -> bool:
    """Whether a rule may read fleets. Too often is no harm: it costs that subjects are taken one after the other."""
    items = (*controls.of_kind("rule"), *controls.of_kind(LLM))
    return any("fleets." in item.body or "fleets[" in item.body for item in items)


def compile_intent(item: ControlItem, tools: Tools) -> Intent:
    """One catalogue entry."""
    return Intent.of(msgspec.json.decode(item.body, type=IntentDefinition), tools.schemas)


def compile_agent(
    item: ControlItem, tools: Tools, intents: Mapping[str, IntentDefinition], prompts: Mapping[str, str]
) -> AgentInForce:
    """One agent, with whether it keeps a part of the row. Rules take some of their settings from their intents, models
    are told of them."""
    if item.kind == "rule":
        item = _in_force(item, intents)
    elif item.kind == LLM:
        item = llm_in_force(item, intents, prompts)
    agent = tools.agents[item.kind](item)
    return AgentInForce(
        agent=agent,
        revision=item.revision,
        remembers=hasattr(agent, "remember"),
        slow=inspect.iscoroutinefunction(agent.decide),
        gate=getattr(agent, "wakes_when", None),
        asks_every_ms=getattr(agent, "asks_every_ms", 0),
    )


def _intents(controls: ControlSet) -> dict[str, IntentDefinition]:
    intents = [msgspec.json.decode(item.body, type=IntentDefinition) for item in controls.of_kind("intent")]
    return {found.intent: found for found in intents}


def _in_force(item: ControlItem, intents: Mapping[str, IntentDefinition]) -> ControlItem:
    """The rule as `RuleInForce`. One that names no repeat interval repeats after the intent's cool-down: a rule that
    fires on is heard again."""
    rule = msgspec.json.decode(item.body, type=RuleInForce)
    intent = intents.get(rule.propose.intent)
    if intent is None:
        return item
    repeat_interval = rule.repeat_interval or intent.limits.cooldown
    rule = replace(rule, repeat_interval=repeat_interval, context_age_max=intent.context_age_max)
    return ControlItem(item.kind, item.name, msgspec.json.encode(rule).decode())


def llm_in_force(item: ControlItem, intents: Mapping[str, IntentDefinition], prompts: Mapping[str, str]) -> ControlItem:
    """The agent as `LlmInForce`. An intent that nothing declares is none that it can be told of."""
    llm = msgspec.json.decode(item.body, type=LlmInForce)
    granted = {name: _told(intents[name]) for name in llm.intents if name in intents}
    llm = replace(llm, prompt_text=prompts.get(llm.prompt, ""), granted=granted)
    return ControlItem(item.kind, item.name, msgspec.json.encode(llm).decode())


def _told(intent: IntentDefinition) -> GrantedIntent:
    return GrantedIntent(subject_kind=intent.subject_kind, parameters=intent.parameters, description=intent.description)


def compile_row(item: ControlItem, tools: Tools) -> Projection:
    """One row part."""
    definition = msgspec.json.decode(item.body, type=RowDefinition)
    fields = [compile_field(name, field, tools.expressions) for name, field in definition.fields.items()]
    return Projection(name=definition.row, on=tuple(definition.on), fields=tuple(fields))


def compile_fleet(item: ControlItem, tools: Tools, tables: Mapping[str, str]) -> Fleet:
    """One fleet. With another table that it reads, by its revision in `tables`, it counts others."""
    definition = msgspec.json.decode(item.body, type=FleetDefinition)
    members = tools.expressions.compile(definition.members)
    healthy = tools.expressions.compile(definition.healthy) if definition.healthy is not None else None
    paths = members.paths | (healthy.paths if healthy is not None else frozenset())
    read = sorted({tables[path[1]] for path in paths if path[0] == REFERENCE and path[1] in tables})
    revision = digest(item.revision, *read)[:REVISION_CHARS] if read else item.revision
    return Fleet(name=definition.fleet, revision=revision, members=members, healthy=healthy)


class FieldInvalid(Exception):
    """A field that cannot be folded as it says; `key` is where it says so."""

    def __init__(self, problem: str, cure: str, key: str = "") -> None:
        super().__init__(f"{problem}; {cure}")
        self.problem = problem
        self.cure = cure
        self.key = key


def compile_field(name: str, field: FieldDefinition, expressions: Expressions) -> Field:
    """One field of a row part. Raises ExpressionInvalid, and FieldInvalid when it cannot be folded as it says."""
    ways = [way for way in KINDS if getattr(field, way) is not None]
    if len(ways) != 1:
        raise FieldInvalid(f"field {name!r} is folded in {len(ways)} ways", f"Name exactly one of {', '.join(KINDS)}.")
    kind: Any = ways[0]
    how = getattr(field, kind)
    if isinstance(how, str):
        how = KeptDefinition(of=how)
    if isinstance(how, SeenDefinition):
        return Field(name=name, kind=kind, of_type=how.of)
    if isinstance(how, CountDefinition):
        return Field(name=name, kind=kind, of_type=how.of, window=_window(how))
    read = _reader(how.of, expressions)
    if isinstance(how, KeptDefinition):
        return Field(name=name, kind=kind, read=read, reads=how.of, bytes_max=how.bytes_max)
    share = how.q if isinstance(how, QuantileDefinition) else 0.0
    return Field(name=name, kind=kind, read=read, reads=how.of, window=_window(how), share=share)


def _window(how: WindowDefinition) -> Window:
    length_ms = parse_duration_ms(how.window)
    lateness_ms = None if how.lateness is None else parse_duration_ms(how.lateness)
    if length_ms < WINDOW_MS_MIN:
        raise FieldInvalid(f"a window of {how.window} is too short", f"Make it {WINDOW_MS_MIN}ms or longer.", "window")
    if lateness_ms is not None and lateness_ms > length_ms:
        problem = f"an event that is {how.lateness} late is older than the window of {how.window} and never counts"
        raise FieldInvalid(problem, "Make lateness shorter, or leave it out.", "lateness")
    return Window(length_ms=length_ms, tumbling=how.tumbling, lateness_ms=lateness_ms)


def _reader(text: str, expressions: Expressions) -> ReadValue:
    """Reads a value from an event's data: a plain path directly, anything else as an expression."""
    steps = text.split(".")
    if steps[0] == "data" and len(steps) > 1 and all(step.isidentifier() for step in steps):
        return _PathReader(tuple(steps[1:]))
    program = expressions.compile(text)

    def read(data: Mapping[str, Any]) -> Any:
        try:
            # As JSON has it, so that it is the same before and after it was stored.
            return msgspec.to_builtins(program.evaluate(expressions.scope({"data": data})))
        except ExpressionMiss as exc:
            raise KeyError(text) from exc

    return read


class _PathReader:
    """Reads `data.a.b` without an expression engine."""

    def __init__(self, steps: tuple[str, ...]) -> None:
        self._steps = steps

    def __call__(self, data: Mapping[str, Any]) -> Any:
        value: Any = data
        for step in self._steps:
            value = value[step]
        return value


def _json(item: ControlItem) -> Any:
    return msgspec.json.decode(item.body)
