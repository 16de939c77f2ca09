"""Decision in, verdict and command out, but only through the guards and policy.

Fails closed: no ruling means no command.
"""

from msgspec.structs import replace

from control_plane.causality.lineage import trail_step
from control_plane.governance import Case
from control_plane.messages import Command, Decision, Reason, Ruling, Verdict
from state.rows import RECENT_ACTIONS_MAX, LiveCommand, RecentAction, Row


def refused(case: Case, stage: str, reason: Reason) -> Verdict:
    """The verdict of a guard that stopped the decision."""
    return _verdict(case, "deny", stage, (reason,))


def ruled(case: Case, ruling: Ruling, policy_input: dict[str, object]) -> Verdict:
    """The verdict of policy, with all that it was asked with."""
    return replace(
        _verdict(case, ruling.answer, "policy", ruling.reasons),
        policy_revision=ruling.revision,
        policy_input=policy_input,
        problem=ruling.problem,
    )


def command_for(case: Case, verdict: Verdict) -> Command | None:
    """The command that a verdict releases; None unless it allows."""
    decision, intent = case.decision, case.catalogued
    assert verdict.decision_id == decision.lineage.message_id, "a verdict may only release the decision it judged"
    if verdict.answer != "allow":
        return None
    return Command(
        lineage=verdict.lineage.child("command"),
        subject=decision.subject,
        occurred_ms=case.now_ms,
        decision_id=decision.lineage.message_id,
        agent=decision.agent,
        intent=decision.intent,
        parameters=decision.parameters,
        executor=intent.executor,
        action_class=intent.action_class,
        idempotent=intent.idempotent,
        deadline_ms=case.now_ms + intent.deadline_ms,
        controls_revision=decision.controls_revision,
    )


def with_command(row: Row, command: Command, decision: Decision) -> Row:
    """The row that knows the command: it is live, it counts, and open windows are disturbed by it."""
    live = LiveCommand(
        command_id=command.lineage.message_id,
        decision_id=command.decision_id,
        agent=command.agent,
        intent=command.intent,
        action_class=command.action_class,
        since_ms=command.occurred_ms,
        deadline_ms=command.deadline_ms,
        expects=decision.expects,
    )
    action = RecentAction(
        command_id=live.command_id,
        agent=live.agent,
        intent=live.intent,
        action_class=live.action_class,
        at_ms=live.since_ms,
    )
    return replace(
        row,
        action_version=row.action_version + 1,
        live=(*row.live, live),
        recent=(*row.recent, action)[-RECENT_ACTIONS_MAX:],
        watches=tuple(replace(watch, disturbed=True) for watch in row.watches),
    )


def own_step(decision: Decision) -> str:
    """How this decision is remembered among its descendants."""
    return trail_step(decision.agent, decision.subject, decision.intent)


def _verdict(case: Case, answer: str, stage: str, reasons: tuple[Reason, ...]) -> Verdict:
    decision = case.decision
    return Verdict(
        lineage=decision.lineage.child("verdict"),
        subject=decision.subject,
        occurred_ms=case.now_ms,
        decision_id=decision.lineage.message_id,
        agent=decision.agent,
        intent=decision.intent,
        answer=answer,  # type: ignore[arg-type]
        stage=stage,
        reasons=reasons,
        controls_revision=decision.controls_revision,
    )
