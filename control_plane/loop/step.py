"""One event and one row through all stages: `step(controls, row, arrival, answers) -> Done | Ask`.

Pure. Time, ids and every answer from outside are given to it; the driver puts the questions and records the answers.
The same row, arrival, controls and answers give the same bytes.
"""

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from control_plane.catalogue import AgentInForce, Controls
from control_plane.causality.lineage import HOP_COUNT_MAX
from control_plane.errors import InvalidMessage
from control_plane.governance import Case, Peers, first_refusal, peers_of
from control_plane.governance import policy as policy_stage
from control_plane.loop import approval, briefing, crossing, deliberation, feedback, folding
from control_plane.loop.arrival import Arrival
from control_plane.messages import (
    Command,
    Context,
    Decision,
    Effect,
    Event,
    Proposed,
    Question,
    Ruling,
    Subject,
    Verdict,
)
from control_plane.messages.event import DECISION_PROPOSED, OUTCOME_PREFIX, SHOWN_AGAIN, TICK
from control_plane.messages.proposed import PERSON_PREFIX
from control_plane.messages.showing import showing_of
from control_plane.messages.wire import effect_of, outcome_of, proposed_of
from control_plane.ports.expressions import ExpressionInvalid, Program, Scope
from state.projections import Gaps
from state.rows import Row

Said = Decision | Verdict | Command | Effect | Context | Proposed
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
    row, said = yield from _decided(proposals, before, row, arrival, shared, controls)
    return Done(row, (*effects, *said), failures)


def _run(controls: Controls, row: Row, arrival: Arrival, subject: Subject) -> _Run:
    before = row
    row, effects = feedback.close_windows(folding.arrived(row, arrival))
    taken = _taken_in(row, arrival, controls)
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
    wanted = [*_brought(event, row, controls), *proposals]
    row, said = yield from _decided(wanted, before, row, arrival, shared, controls, _is_superseded(before, event))
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
    row, said = yield from _decided(proposals, before, row, arrival, shared, controls)
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


def _decided(
    wanted: "Sequence[tuple[AgentInForce | None, Decision]]",
    before: Row,
    row: Row,
    arrival: Arrival,
    shared: briefing.Brief,
    controls: Controls,
    superseded: bool = False,
) -> Generator[Question, Ruling, tuple[Row, list[Said]]]:
    """What became of each decision, in order: the next is judged on the row that the one before it left. `superseded`
    says that those which the event has brought are to a context that was overtaken by a newer one. What is about
    another subject is not judged here."""
    said: list[Said] = []
    peers = peers_of(before, row, controls.fleets, arrival.fleets) if wanted else ()
    for n, (found, decision) in enumerate(wanted):
        if crossing.leaves(decision, row) and not superseded:
            said.append(crossing.proposed(decision, shared.event, arrival, row, n))
            continue
        case = _case(found, decision, row, shared, controls, peers)
        row, messages = yield from _approve(replace(case, superseded=True) if superseded else case, row)
        said += messages
    return row, said


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


def _taken_in(row: Row, arrival: Arrival, controls: Controls) -> Row | str:
    """The row that has taken the event in, or the note that says why it was dropped."""
    event = arrival.event
    if feedback.returns(event):
        if event.type.startswith(OUTCOME_PREFIX):
            matched = feedback.with_outcome(row, outcome_of(event))
        elif event.type == DECISION_PROPOSED:
            proposed = proposed_of(event)
            if proposed.origin is not None and not crossing.is_full(row, proposed.origin):
                return crossing.with_origin(row, proposed.origin) or "duplicate"
            if proposed.by_person or proposed.origin is not None:
                return _foreign(row, arrival)
            found = controls.agent(proposed.agent)
            matched = feedback.with_answer(row, proposed, 0 if found is None else found.asks_every_ms)
        else:
            matched = feedback.with_effect_heard(row, effect_of(event))
        return "unmatched" if matched is None else matched
    return _foreign(row, arrival)


def _foreign(row: Row, arrival: Arrival) -> Row | str:
    """What nobody here waits for is taken once, by its source and id."""
    remembered = folding.remembered(row, arrival)
    return "duplicate" if remembered is None else remembered


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


def _brought(event: Event, row: Row, controls: Controls) -> "list[tuple[AgentInForce | None, Decision]]":
    """The decisions that a slow agent's answer or a proposal carries, stamped with the controls that they are ruled
    under. A person, or an agent that was shown another subject, saw no row of this one, so nothing can have outdated
    it; what must hold stands in `still_when`."""
    if event.type != DECISION_PROPOSED:
        return []
    proposed = proposed_of(event)
    found = controls.agent(proposed.agent)
    if proposed.by_person or proposed.origin is not None:
        stamps = {"controls_revision": controls.revision, "action_version": row.action_version}
        return [(found, replace(decision, **stamps)) for decision in proposed.decisions]
    return [(found, replace(decision, controls_revision=controls.revision)) for decision in proposed.decisions]


def _is_superseded(before: Row, event: Event) -> bool:
    """Whether an answer is to a context that its agent was sent a newer one after."""
    if event.type != DECISION_PROPOSED:
        return False
    asked = feedback.asked_with(before, proposed_of(event))
    return asked is not None and asked.state == "superseded"


def _deliberate(
    agents: Iterable[AgentInForce], row: Row, shared: briefing.Brief, controls: Controls
) -> tuple[Row, list[tuple[AgentInForce | None, Decision]], tuple[AgentFailure, ...]]:
    """All agents decide on the same row; what they keep of their own is put back together."""
    own, timers = row.own, row.timers
    proposals: list[tuple[AgentInForce | None, Decision]] = []
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


def _approve(case: Case, row: Row) -> Generator[Question, Ruling, tuple[Row, list[Said]]]:
    """One decision through the guards, policy and, if both let it, into a command."""
    decision = case.decision
    refusal = ("concurrency", crossing.ORIGINS_FULL) if _is_beyond(case) else first_refusal(case)
    if refusal is not None:
        return row, [decision, approval.refused(case, *refusal)]
    question = policy_stage.question(case)
    ruling = yield question
    verdict = approval.ruled(case, ruling, question.input)
    command = approval.command_for(case, verdict)
    if command is None:
        return row, [decision, verdict]
    return approval.with_command(row, command, decision), [decision, verdict, command]


def _is_beyond(case: Case) -> bool:
    """Whether it came from one partition more than the row can keep apart; it was then taken once by its id."""
    if not case.from_outside:
        return False
    origin = proposed_of(case.event).origin
    return origin is not None and origin.partition not in case.row.origins


def _case(
    found: AgentInForce | None,
    decision: Decision,
    row: Row,
    shared: briefing.Brief,
    controls: Controls,
    peers: tuple[Peers, ...],
) -> Case:
    """The case of a decision."""
    reads = found.agent.reads if found is not None else ()
    rows = {part: shared.views[part] for part in reads if part in shared.views}
    still_when, invalid_expression = _compiled(decision, controls)
    return Case(
        decision=decision,
        intent=controls.intents.get(decision.intent),
        event=shared.event,
        subject=shared.subject,
        row=row,
        now_ms=row.now_ms,
        granted=found.agent.intents if found is not None else _granted_without_agent(decision, controls),
        from_outside=shared.event.type == DECISION_PROPOSED,
        rows=rows,
        ages_ms={part: row.now_ms - row.folded_ms[part] for part in rows},
        scope=shared.scope,
        still_when=still_when,
        invalid_expression=invalid_expression,
        peers=peers,
    )


def _granted_without_agent(decision: Decision, controls: Controls) -> tuple[str, ...]:
    """A person may propose whatever is in the catalogue; an agent that is no longer in force nothing."""
    return tuple(controls.intents) if decision.agent.startswith(PERSON_PREFIX) else ()


def _compiled(decision: Decision, controls: Controls) -> tuple[Program | None, str | None]:
    """`still_when`, compiled; and the first expression of the decision that does not compile."""
    expects = decision.expects
    texts = [decision.still_when, expects.where if expects else None, expects.harm if expects else None]
    for text in texts:
        try:
            if text is not None:
                controls.program(text)
        except ExpressionInvalid as exc:
            return None, f"{text}: {exc}"
    return (None if decision.still_when is None else controls.program(decision.still_when)), None
