"""One event and one row through all stages: `step(controls, row, arrival, answers) -> Done | Ask`.

Pure. Time, ids and every answer from outside are given to it; the driver puts the questions and records the answers.
The same row, arrival, controls and answers give the same bytes.
"""

from collections.abc import Callable, Generator, Iterable, Mapping
from functools import partial
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from control_plane.catalogue import AgentInForce, Controls
from control_plane.causality.lineage import HOP_COUNT_MAX
from control_plane.errors import InvalidMessage
from control_plane.loop import briefing, deliberation, feedback, folding, judging, receiving
from control_plane.loop.arrival import Arrival
from control_plane.messages import Context, Effect, Event, Question, Ruling, Subject
from control_plane.messages.event import DECISION_PROPOSED, SHOWN_AGAIN, TICK
from control_plane.messages.showing import showing_of
from control_plane.ports.expressions import Scope
from state.projections import Gaps
from state.rows import Row

Said = judging.Judged | Effect | Context
"""What a step puts out, in the order in which it is published."""

NO_ANSWERS: Mapping[str, Ruling] = {}


class AgentFailure(Struct, frozen=True):
    """An agent that failed on the event; the event becomes a dead letter that names it."""

    agent: str
    reason: InvalidMessage


class Done(Struct, frozen=True):
    """A step that is over. `notes` are counted: `duplicate`, `unmatched`; as is how many agents the event `missed` for
    want of a field that they ask for, and in how many fields of which row parts it does not count."""

    row: Row
    said: tuple[Said, ...] = ()
    failures: tuple[AgentFailure, ...] = ()
    notes: tuple[str, ...] = ()
    missed: int = 0
    gaps: tuple[tuple[str, Gaps], ...] = ()


class Ask(Struct, frozen=True):
    """A step that needs rulings. `resume(answers)` goes on from here and may be called once."""

    questions: tuple[Question, ...]
    resume: "Callable[[Mapping[str, Ruling]], Done | Ask]"


_Run = Generator[Question, Ruling, Done]


def step(controls: Controls, row: Row, arrival: Arrival, answers: Mapping[str, Ruling] = NO_ANSWERS) -> Done | Ask:
    """Take one event through the loop on its subject's row.

    The event must have passed `loop.intake`: one that must not be folded never gets here.
    """
    if arrival.event.type == TICK:
        return _advance(_tick(controls, row, arrival), answers, None)
    return _advance(_run(controls, row, arrival, Subject.parse(arrival.event.subject)), answers, None)


def _advance(run: _Run, answers: Mapping[str, Ruling], ruling: Ruling | None) -> Done | Ask:
    """Go on until a question has no answer yet."""
    while True:
        try:
            question = next(run) if ruling is None else run.send(ruling)
        except StopIteration as stop:
            done: Done = stop.value
            return done
        ruling = answers.get(question.id)
        if ruling is None:
            return Ask((question,), partial(_resumed, run, question.id))


def _resumed(run: _Run, asked: str, answers: Mapping[str, Ruling]) -> Done | Ask:
    return _advance(run, answers, answers[asked])


def _tick(controls: Controls, row: Row, arrival: Arrival) -> _Run:
    """Time has passed on a row that waited for it."""
    before = row
    row, effects = feedback.close_windows(folding.arrived(row, arrival))
    row, woken = _woken(row, controls)
    if not woken:
        return Done(row, effects)
    # The tick is the partition's; to those that it wakes it is about their subject.
    event = replace(arrival.event, subject=row.subject)
    shared = briefing.brief(row, event, Subject.parse(row.subject), controls, arrival.heard, arrival.fleets)
    row, proposals, failures = _deliberate(woken, row, shared, controls)
    row, said = yield from judging.decided(proposals, before, row, arrival, shared, controls)
    return Done(row, (*effects, *said), failures)


def _run(controls: Controls, row: Row, arrival: Arrival, subject: Subject) -> _Run:
    before = row
    row, effects = feedback.close_windows(folding.arrived(row, arrival))
    taken = receiving.taken_in(row, arrival, controls)
    if isinstance(taken, str):
        return Done(row, effects, (), (taken,))
    event = arrival.event
    if event.type == SHOWN_AGAIN:
        return (yield from _shown_again(before, taken, arrival, subject, controls, effects))
    row, gaps = folding.fold(taken, arrival, controls)
    listeners = controls.listeners.get(event.type)
    if listeners is None and not row.watches and event.type != DECISION_PROPOSED:
        return Done(_with_health(row, event, subject, controls, arrival), effects, gaps=gaps)

    shared = briefing.brief(row, event, subject, controls, arrival.heard, arrival.fleets)
    row = _with_health(row, event, subject, controls, arrival, shared)
    awake, missed = listeners.awake(row.own, shared.scope) if listeners is not None else ((), 0)
    if event.type in controls.folds:
        row = feedback.sampled(row, shared.scope, controls)
    row, contexts = _brief_slow_agents(listeners.slow(shared.scope) if listeners is not None else (), row, shared)
    row, proposals, failures = _deliberate(awake, row, shared, controls)
    wanted = [*receiving.brought(event, row, controls), *proposals]
    row, said = yield from judging.decided(
        wanted, before, row, arrival, shared, controls, receiving.is_superseded(before, event)
    )
    return Done(row, (*effects, *contexts, *said), failures, missed=missed, gaps=gaps)


def _shown_again(
    before: Row, row: Row, arrival: Arrival, subject: Subject, controls: Controls, effects: tuple[Effect, ...]
) -> _Run:
    """An event that was folded long ago, and one agent that failed on it then: nobody else decides on it again."""
    showing = showing_of(arrival.event)
    found = controls.agent(showing.agent)
    if found is None or showing.event.type not in found.agent.listens_to:
        gone = InvalidMessage(
            "agent_unknown",
            f"no agent {showing.agent} that listens to {showing.event.type} was in force when it was to be shown this",
            cure="Apply a workspace that has it and redrive this letter, or discard it.",
        )
        return Done(row, effects, (AgentFailure(showing.agent, gone),))
    shared = briefing.brief(row, showing.event, subject, controls, arrival.heard, arrival.fleets)
    row, contexts = _brief_slow_agents((found,) if found.slow else (), row, shared)
    row, proposals, failures = _deliberate(() if found.slow else (found,), row, shared, controls)
    row, said = yield from judging.decided(proposals, before, row, arrival, shared, controls)
    return Done(row, (*effects, *contexts, *said), failures)


def _woken(row: Row, controls: Controls) -> tuple[Row, list[AgentInForce]]:
    """The agents whose time has come, and the row without their timers; of those that are in force no longer nothing is
    kept."""
    due = sorted([name for name, at_ms in row.timers.items() if at_ms <= row.now_ms])
    if not due:
        return row, []
    in_force = [found for name in due if (found := controls.agent(name)) is not None and found.remembers]
    gone = set(due).difference(found.agent.name for found in in_force)
    own = {name: part for name, part in row.own.items() if name not in gone}
    timers = {name: at_ms for name, at_ms in row.timers.items() if name not in due}
    return replace(row, own=own, timers=timers), in_force


def _with_health(
    row: Row, event: Event, subject: Subject, controls: Controls, arrival: Arrival, shared: briefing.Brief | None = None
) -> Row:
    """The row that knows in which of its fleets it is healthy now."""
    if event.type not in controls.fleets.judged_on:
        return row

    def scope() -> Scope:
        return (shared or briefing.brief(row, event, subject, controls, arrival.heard, arrival.fleets)).scope

    healthy = controls.fleets.health_of(row.subject, scope)
    return row if healthy == row.healthy else replace(row, healthy=healthy)


def _brief_slow_agents(agents: tuple[AgentInForce, ...], row: Row, shared: briefing.Brief) -> tuple[Row, list[Context]]:
    """Slow agents decide apart: they are sent a context, and their answer comes back as an event. Nobody is asked at
    the end of a flow: whatever the answer, it would be denied."""
    contexts: list[Context] = []
    if shared.event.lineage.hop_count >= HOP_COUNT_MAX:
        return row, contexts
    for found in agents:
        context = briefing.context_for(found, row, shared)
        asked = feedback.with_question(row, context, found.asks_every_ms)
        if asked is not None:
            row = asked
            contexts.append(context)
    return row, contexts


def _deliberate(
    agents: Iterable[AgentInForce], row: Row, shared: briefing.Brief, controls: Controls
) -> tuple[Row, list[judging.Wanted], tuple[AgentFailure, ...]]:
    """All agents decide on the same row; what they keep of their own is put back together."""
    own, timers = row.own, row.timers
    proposals: list[judging.Wanted] = []
    failures: list[AgentFailure] = []
    for found in agents:
        name = found.agent.name
        context = briefing.context_for(found, row, shared)
        result = deliberation.deliberate(found, context, controls.revision)
        if result.failure is not None:
            failures.append(AgentFailure(name, result.failure))
            continue
        if found.remembers and (result.own != context.own or result.wakes_ms != timers.get(name)):
            if own is row.own:
                own, timers = dict(own), dict(timers)
            _keep(own, name, result.own)
            _keep(timers, name, _next_ms(result.wakes_ms, context))
        proposals += [(found, decision) for decision in result.decisions]
    return row if own is row.own else replace(row, own=own, timers=timers), proposals, tuple(failures)


def _next_ms(wakes_ms: int | None, context: Context) -> int | None:
    """When an agent is woken. A tick never wants another one at once: there would be no end to them."""
    return max(wakes_ms, context.now_ms + 1) if wakes_ms is not None and context.by_tick else wakes_ms


def _keep(kept: dict[str, Any], agent: str, value: Any) -> None:
    """Put what one agent keeps among what all do; None keeps nothing."""
    if value is None:
        kept.pop(agent, None)
    else:
        kept[agent] = value
