"""One instant of a log once more: what an agent was shown of an event, and why it proposed nothing.

The partition is folded again up to the event, under the controls that were in force; nothing is compared and nothing is
said.
"""

from collections.abc import Sequence
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import replace

from control_plane.catalogue import AgentInForce, Controls
from control_plane.errors import InvalidMessage
from control_plane.messages import Context, Decision, Event, topics
from control_plane.messages.wire import decode_event
from control_plane.partition import Partitions
from control_plane.ports.agent import Silence
from control_plane.ports.backbone import BATCH_RECORDS_MAX, Record
from control_plane.ports.controls_source import ControlsSource
from control_plane.ports.log_reader import LogReader
from control_plane.ports.policy_engine import PolicyEngine
from control_plane.replay.pinned import with_agents
from control_plane.replay.recorded import whole_partition
from control_plane.replay.run import Fold, batches
from state.projections import Gaps
from state.rows import Row, decode_row, decode_stored

Why = Literal["proposed", "silent", "not shown", "decides apart", "not listening", "not in force"]


class Instant(Struct, frozen=True, kw_only=True):
    """What an agent made of one event.

    `proposed`: `decisions` says which. `silent`: `silence` says why, for agents that can tell; `rows` is what it was
    shown. `not shown`: the event was not folded, because it had come before or is a dead letter. `own` is what the
    agent kept of the subject before the event, `own_after` what it keeps now. `gaps` says of the rows that it reads, by
    row and field, how many values did not count so far.
    """

    partition: int
    offset: int
    event_type: str
    subject: str
    agent: str
    why: Why
    controls_revision: str = ""
    rows: dict[str, Any] = {}
    own: Any = None
    own_after: Any = None
    gaps: dict[str, dict[str, Gaps]] = {}
    silence: Silence | None = None
    decisions: tuple[Decision, ...] = ()


async def instant(
    reader: LogReader, controls: ControlsSource, engine: PolicyEngine, *, event_id: str, agent: str
) -> Instant | None:
    """What the agent made of the event with this id; None when no such event is on the log.

    Raises ContinuityBroken when the log does not begin at its beginning. Reading blocks the event loop.
    """
    found = _find(reader, event_id)
    if found is None:
        return None
    record, event = found
    spying = _SpyingControls(controls, agent, event)
    fold = Fold(record.partition, Partitions(engine=engine, controls=spying))
    await fold.begin()
    until = record.offset + 1
    for batch in batches(whole_partition(reader, topics.EVENTS, record.partition), BATCH_RECORDS_MAX, until):
        await fold.take(batch)
        if batch[-1].offset >= record.offset:
            break
    stored = fold.get(event.subject.encode())
    row = decode_row(decode_stored(stored).row) if stored is not None else Row(subject=event.subject)
    return spying.seen(record, row)


def _find(reader: LogReader, event_id: str) -> tuple[Record, Event] | None:
    """The first copy of the event: later ones are not folded again."""
    wanted = event_id.encode()
    for partition in range(reader.partitions(topics.EVENTS)):
        for record in reader.read(topics.EVENTS, partition):
            if wanted not in record.value:
                continue
            try:
                event = decode_event(record.value, record.recorded_ms)
            except InvalidMessage:
                continue
            if event.lineage.message_id == event_id:
                return record, event
    return None


class _SpyingControls:
    """Controls of which one agent notes what it is shown of one event (`ports.controls_source.ControlsSource`)."""

    def __init__(self, controls: ControlsSource, agent: str, event: Event) -> None:
        self._controls = controls
        self._agent = agent
        self._event = event
        self._spy: _Spy | None = None
        self._found: AgentInForce | None = None
        self._in_force: Controls | None = None
        self._revision = ""

    def at(self, revision: str) -> Controls:
        """The controls of a revision."""
        found = self._controls.at(revision)
        self._revision, self._in_force = revision, found
        self._found = found.agent(self._agent)
        if self._found is None or self._found.slow:
            return found
        spy = self._spy = _Spy(self._found, self._event)
        # Without its gate it is shown every event, as one that asks for nothing.
        return with_agents(
            found, lambda each: replace(each, agent=spy, gate=None) if each.agent.name == self._agent else each
        )

    def seen(self, record: Record, row: Row) -> Instant:
        """What came of it. `row` is that of its subject, with the event in it."""
        instant = Instant(
            partition=record.partition,
            offset=record.offset,
            event_type=self._event.type,
            subject=self._event.subject,
            agent=self._agent,
            why="not in force",
            controls_revision=self._revision,
        )
        if self._found is None:
            return instant
        if self._event.type not in self._found.agent.listens_to:
            return replace(instant, why="not listening")
        if self._found.slow:
            return replace(instant, why="decides apart")
        assert self._spy is not None, "an agent that decides here is spied on"
        return self._spy.noted(replace(instant, gaps=self._gaps(row), own_after=row.own.get(self._agent)))

    def _gaps(self, row: Row) -> dict[str, dict[str, Gaps]]:
        assert self._found is not None, "the agent was in force"
        assert self._in_force is not None, "so were the controls that hold it"
        projections = self._in_force.projections
        reads = [part for part in self._found.agent.reads if part in row.parts and part in projections]
        found = {part: projections[part].gaps(row.parts[part]) for part in reads}
        return {part: gaps for part, gaps in found.items() if gaps}


class _Spy:
    """An agent that notes what it is shown of one event, and otherwise does what it did."""

    def __init__(self, found: AgentInForce, event: Event) -> None:
        self._agent: Any = found.agent
        self._remembers = found.remembers
        self._event = event
        self._context: Context | None = None
        self._silence: Silence | None = None
        self._decisions: tuple[Decision, ...] = ()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._agent, name)

    def remember(self, context: Context) -> Any:
        """What the agent keeps."""
        self._note(context)
        return self._agent.remember(context)

    def decide(self, context: Context) -> Sequence[Decision]:
        """What the agent decides."""
        if not self._remembers:
            self._note(context)
        decisions: Sequence[Decision] = self._agent.decide(context)
        if self._is_it(context):
            self._decisions = tuple(decisions)
        return decisions

    def noted(self, instant: Instant) -> Instant:
        """The instant, with what was noted."""
        if self._context is None:
            return replace(instant, why="not shown")
        return replace(
            instant,
            why="proposed" if self._decisions else "silent",
            rows={part: dict(row) for part, row in self._context.rows.items()},
            own=self._context.own,
            silence=self._silence,
            decisions=self._decisions,
        )

    def _note(self, context: Context) -> None:
        if self._is_it(context):
            self._context = context
            tell = getattr(self._agent, "why_not", None)
            # Asked now: what expressions are evaluated on does not outlive the event.
            self._silence = tell(context) if tell is not None else None

    def _is_it(self, context: Context) -> bool:
        lineage = context.event.lineage
        wanted = self._event.lineage
        same = (lineage.source, lineage.message_id) == (wanted.source, wanted.message_id)
        return same and context.event.subject == self._event.subject
