"""Answers from outside that a replay cannot have again, taken from the record. Everything else is asked again.

An engine that failed may answer this time, and an agent that took too long be in time.
"""

from collections.abc import Callable, Mapping, Sequence

from msgspec.structs import replace

from control_plane.catalogue import AgentInForce, Controls
from control_plane.errors import InvalidMessage
from control_plane.messages import Context, Decision, Event, Question, Ruling, topics
from control_plane.messages.wire import decode_event
from control_plane.ports.agent import Agent, AgentOverran
from control_plane.ports.controls_source import ControlsSource
from control_plane.ports.log_reader import LogReader
from control_plane.ports.policy_engine import PolicyEngine, PolicySet

Overruns = Mapping[tuple[str, str, str, str], str]
"""What is said of an agent that took too long, by the event's source, id and subject, and the agent's name."""


class PinnedEngine:
    """A policy engine that repeats the recorded faults and asks the real one for everything else."""

    def __init__(self, engine: PolicyEngine, faults: Mapping[str, Ruling]) -> None:
        self.concurrent = engine.concurrent
        self.pinned = 0
        self._engine = engine
        self._faults = faults

    async def rule(self, question: Question, policies: PolicySet) -> Ruling:
        """The ruling, as it was or as it would be."""
        fault = self._faults.get(question.id)
        if fault is None:
            return await self._engine.rule(question, policies)
        self.pinned += 1
        return fault


class PinnedControls:
    """Controls whose agents take too long exactly where they did (`ports.controls_source.ControlsSource`)."""

    def __init__(self, controls: ControlsSource, overruns: Overruns) -> None:
        self.pinned = 0
        self._controls = controls
        self._overruns = overruns

    def at(self, revision: str) -> Controls:
        """The controls of a revision."""
        found = self._controls.at(revision)
        slow = {agent for *_, agent in self._overruns}
        if not slow:
            return found
        return with_agents(found, lambda agent: self._pinned(agent) if agent.agent.name in slow else agent)

    def _pinned(self, found: AgentInForce) -> AgentInForce:
        return replace(found, agent=_PinnedAgent(found.agent, self._overrun))

    def _overrun(self, event: Event, agent: str) -> str | None:
        said = self._overruns.get((event.lineage.source, event.lineage.message_id, event.subject, agent))
        self.pinned += said is not None
        return said


def with_agents(controls: Controls, change: Callable[[AgentInForce], AgentInForce]) -> Controls:
    """The same controls with other agents in the place of theirs."""
    return Controls(
        revision=controls.revision,
        intents=controls.intents.values(),
        projections=controls.projections.values(),
        agents=[change(agent) for agent in controls.agents],
        schemas=controls.schemas,
        policies=controls.policies,
        expressions=controls.expressions,
        fleets=controls.fleets,
    )


def overruns_by_event(reader: LogReader, found: Mapping[tuple[int, int], Mapping[str, str]]) -> Overruns:
    """What was recorded by position, by the event that stands there."""
    by_event: dict[tuple[str, str, str, str], str] = {}
    for place, agents in found.items():
        event = _event_at(reader, *place)
        if event is not None:
            for agent, said in agents.items():
                by_event[event.lineage.source, event.lineage.message_id, event.subject, agent] = said
    return by_event


def _event_at(reader: LogReader, partition: int, offset: int) -> Event | None:
    """The event at a position; None when the record was changed since: then the comparison finds it."""
    record = next(iter(reader.read(topics.EVENTS, partition, offset)), None)
    try:
        return decode_event(record.value, record.recorded_ms) if record else None
    except InvalidMessage:
        return None


class _PinnedAgent:
    """An agent that takes too long where it did (`ports.agent.Agent`)."""

    def __init__(self, agent: Agent, overrun: Callable[[Event, str], str | None]) -> None:
        self.name = agent.name
        self.version = agent.version
        self.listens_to = agent.listens_to
        self.reads = agent.reads
        self.intents = agent.intents
        self._agent = agent
        self._overrun = overrun

    def decide(self, context: Context) -> Sequence[Decision]:
        """What the agent decides. Raises AgentOverran where it is recorded."""
        said = self._overrun(context.event, self.name)
        if said is not None:
            raise AgentOverran(said.removeprefix(f"agent {self.name} {self.version}: "))
        return self._agent.decide(context)
