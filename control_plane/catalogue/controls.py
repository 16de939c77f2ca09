"""Everything that is in force at one record: intents, rows, fleets, agents, schemas, policies, under one revision.

Controls are content: an item's revision is a digest of its text, and a set's revision a digest of its items. So the
same files always have the same revision, and an unchanged file makes no new version.
"""

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

from msgspec import Struct

from control_plane.catalogue.audiences import AgentInForce, Audience
from control_plane.catalogue.fleets import Fleets
from control_plane.catalogue.intent import Intent
from control_plane.catalogue.reference import POLICY_REFERENCE, REFERENCE, as_policy_data
from control_plane.causality import digest
from control_plane.messages import topics
from control_plane.messages.event import BUILT_IN
from control_plane.ports.expressions import Expressions, Program
from control_plane.ports.schemas import Validator
from state.projections import Projection

REVISION_CHARS = 12

TOPIC_OF_KIND: Mapping[str, str] = {
    "intent": topics.INTENTS,
    "executor": topics.INTENTS,
    "trigger": topics.INTENTS,
    "rule": topics.AGENTS,
    "agent": topics.AGENTS,
    "llm": topics.AGENTS,
    "prompt": topics.AGENTS,
    "row": topics.SCHEMAS,
    "fleet": topics.SCHEMAS,
    "schema": topics.SCHEMAS,
    "reference": topics.REFERENCE,
    "policy": topics.POLICIES,
    "policy_data": topics.POLICIES,
}
"""Where an item of each kind travels. Python agents travel as their source text, prompts as what they say."""


class ControlItem(Struct, frozen=True):
    """One versioned thing that a user declared. `body` is canonical JSON, Rego or Python text."""

    kind: str
    name: str
    body: str

    @property
    def revision(self) -> str:
        """Digest of the content."""
        return digest(self.kind, self.name, self.body)[:REVISION_CHARS]

    @property
    def key(self) -> str:
        """`kind/name@revision`: nothing is overwritten while a record may have been judged under it."""
        return f"{self.kind}/{self.name}@{self.revision}"


class ControlSet(Struct, frozen=True):
    """The items that are in force together, sorted by key."""

    items: tuple[ControlItem, ...]

    @classmethod
    def of(cls, items: Iterable[ControlItem]) -> "ControlSet":
        """A set of items, in the one order that gives it its revision."""
        return cls(tuple(sorted(items, key=lambda item: item.key)))

    @property
    def revision(self) -> str:
        """Digest of all items."""
        return digest(*(item.key for item in self.items))[:REVISION_CHARS]

    @property
    def keys(self) -> tuple[str, ...]:
        """The key of each item."""
        return tuple(item.key for item in self.items)

    def of_kind(self, kind: str) -> tuple[ControlItem, ...]:
        """The items of one kind."""
        return tuple(item for item in self.items if item.kind == kind)


class Policies(Struct, frozen=True, kw_only=True):
    """The policies in force; see `ports.policy_engine.PolicySet`."""

    revision: str
    modules: tuple[tuple[str, str], ...]
    data: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, controls: ControlSet) -> "Policies":
        """The policies of a control set; their revision covers modules, data and the tables that they read alone."""
        modules, data = controls.of_kind("policy"), controls.of_kind("policy_data")
        # Where no policy reads a table, a change of one is no change of policy.
        read = any(POLICY_REFERENCE in item.body for item in modules)
        tables = controls.of_kind(REFERENCE) if read else ()
        as_data = [(REFERENCE, as_policy_data(tables))] if tables else []
        return cls(
            revision=digest(*(item.key for item in (*modules, *data, *tables)))[:REVISION_CHARS],
            modules=tuple(sorted((item.name, item.body) for item in modules)),
            data=tuple(sorted([*((item.name, item.body) for item in data), *as_data])),
        )


class Controls:
    """What the loop follows at one record. Built once per revision, never changed."""

    def __init__(
        self,
        *,
        revision: str,
        intents: Iterable[Intent],
        projections: Iterable[Projection],
        agents: Iterable[AgentInForce],
        schemas: Mapping[str, Validator],
        policies: Policies,
        expressions: Expressions,
        fleets: Fleets | None = None,
    ) -> None:
        self.revision = revision
        self.intents = {intent.name: intent for intent in intents}
        self.projections = {projection.name: projection for projection in projections}
        self.agents = tuple(sorted(agents, key=lambda found: found.agent.name))
        self.schemas = dict(schemas)
        self.policies = policies
        self.expressions = expressions
        self.fleets = fleets or Fleets((), expressions)
        self._programs: dict[str, Program] = {}

    @cached_property
    def folds(self) -> Mapping[str, tuple[Projection, ...]]:
        """The projections that an event type feeds."""
        return _by_type((t, projection) for projection in self.projections.values() for t in projection.on)

    @cached_property
    def listeners(self) -> Mapping[str, Audience]:
        """Who listens to an event type."""
        found = _by_type((t, found) for found in self.agents for t in dict.fromkeys(found.agent.listens_to))
        return {event_type: Audience(agents, self.expressions) for event_type, agents in found.items()}

    @cached_property
    def _agents_by_name(self) -> Mapping[str, AgentInForce]:
        return {found.agent.name: found for found in self.agents}

    def agent(self, name: str) -> AgentInForce | None:
        """The agent of a name, if it is in force."""
        return self._agents_by_name.get(name)

    @cached_property
    def heeds_sources(self) -> bool:
        """Whether an agent asks when a source was last heard: then owners tell one another as soon as it changes."""
        return any(getattr(found.agent, "heeds_sources", False) for found in self.agents)

    @cached_property
    def known_types(self) -> frozenset[str]:
        """Event types that something is declared for; others are refused."""
        return BUILT_IN.union(self.schemas, self.folds, self.listeners)

    def program(self, text: str) -> Program:
        """An expression, compiled once per text. Raises ExpressionInvalid."""
        program = self._programs.get(text)
        if program is None:
            program = self.expressions.compile(text)
            self._programs[text] = program
        return program


def _by_type(pairs: Iterable[tuple[str, Any]]) -> dict[str, tuple[Any, ...]]:
    found: dict[str, list[Any]] = {}
    for event_type, value in pairs:
        found.setdefault(event_type, []).append(value)
    return {event_type: tuple(values) for event_type, values in found.items()}
