"""What becomes of what was proposed: each decision, in order, through the guards and policy into a command."""

from collections.abc import Generator, Sequence

from msgspec.structs import replace

from control_plane.catalogue import AgentInForce, Controls
from control_plane.governance import Case, Peers, first_refusal, peers_of
from control_plane.governance import policy as policy_stage
from control_plane.loop import approval, briefing, crossing
from control_plane.loop.arrival import Arrival
from control_plane.messages import Command, Decision, Proposed, Question, Ruling, Verdict
from control_plane.messages.event import DECISION_PROPOSED
from control_plane.messages.proposed import PERSON_PREFIX
from control_plane.messages.wire import proposed_of
from control_plane.ports.expressions import ExpressionInvalid, Program
from state.rows import Row

Wanted = tuple[AgentInForce | None, Decision]
"""A decision and the agent that made it; None for one that is not in force, and for a person."""

Judged = Decision | Verdict | Command | Proposed


def decided(
    wanted: Sequence[Wanted],
    before: Row,
    row: Row,
    arrival: Arrival,
    shared: briefing.Brief,
    controls: Controls,
    superseded: bool = False,
) -> Generator[Question, Ruling, tuple[Row, list[Judged]]]:
    """What became of each decision, in order: the next is judged on the row that the one before it left. `superseded`
    says that those which the event has brought are to a context that was overtaken by a newer one. What is about
    another subject is not judged here."""
    said: list[Judged] = []
    peers = peers_of(before, row, controls.fleets, arrival.fleets) if wanted else ()
    for n, (found, decision) in enumerate(wanted):
        if crossing.leaves(decision, row) and not superseded:
            said.append(crossing.proposed(decision, shared.event, arrival, row, n))
            continue
        case = _case(found, decision, row, shared, controls, peers)
        row, messages = yield from _approve(replace(case, superseded=True) if superseded else case, row)
        said += messages
    return row, said


def _approve(case: Case, row: Row) -> Generator[Question, Ruling, tuple[Row, list[Judged]]]:
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
