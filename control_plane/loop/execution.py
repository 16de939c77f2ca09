"""What to do next with one command, at one instant. Pure: the clock, the world and the ledger are the driver's.

The driver asks `before_acting` when a command is at hand, `after_attempt` when an attempt has ended, `after_look` when
the world was looked at. Where nobody knows whether the act happened, nothing but a look at the world leads on: never a
blind second attempt, unless the command is idempotent.
"""

from msgspec import Struct

from control_plane.causality.lineage import trail_step
from control_plane.messages import Command, Outcome
from control_plane.messages.outcome import Status
from control_plane.ports.executor import DETAIL_CHARS_MAX, Attempt, Found
from control_plane.ports.ledger import Conclusion

LOOK_PAUSE_MS = 250
LOOK_PAUSE_MS_MAX = 5_000
"""Between looks that find nothing out: doubled from the first to the second."""


class Terms(Struct, frozen=True, kw_only=True):
    """What holds for every command of one executor."""

    attempt_timeout_ms: int
    settle_ms: int
    attempts_max: int
    backoff_ms: int
    reconcile_for_ms: int


class Standing(Struct, frozen=True, kw_only=True):
    """What is known of one unfinished command. `doubtful`: an attempt may have acted, and nobody knows what came of it.

    `attempts` and `begun_ms` tell of attempts that were made. `attempt_over_ms` is when the last one was over at the
    latest; `looks` counts looks since then, the first of them at `first_look_ms`.
    """

    command: Command
    attempts: int = 0
    begun_ms: int | None = None
    doubtful: bool = False
    attempt_over_ms: int = 0
    looks: int = 0
    first_look_ms: int = 0


class Act(Struct, frozen=True):
    """Make an attempt, after it was noted as begun."""


class Wait(Struct, frozen=True):
    """Another attempt may be made then. `nothing_done`: it is sure that nothing was done so far."""

    until_ms: int
    nothing_done: bool


class Look(Struct, frozen=True):
    """Nobody knows; look at the world then."""

    at_ms: int


class Conclude(Struct, frozen=True):
    """It is over."""

    status: Status
    detail: str


def before_acting(standing: Standing, terms: Terms, now_ms: int, halted: str | None) -> Act | Look | Conclude:
    """At the instant of acting. `halted` says why nothing may be done, if so."""
    late_ms = now_ms - standing.command.deadline_ms
    if standing.doubtful:
        may_act = _may_act_blindly(standing, terms) and halted is None and late_ms < 0
        return Act() if may_act else Look(now_ms)
    if halted is not None:
        return Conclude("refused", halted)
    if late_ms >= 0:
        return Conclude("expired", f"not done: its deadline had passed {late_ms} ms before")
    return Act()


def after_attempt(standing: Standing, attempt: Attempt, terms: Terms, now_ms: int) -> Wait | Look | Conclude:
    """When an attempt has ended or was given up. `standing` is doubtful if an earlier attempt may have acted."""
    if attempt.result == "succeeded":
        return Conclude("succeeded", attempt.detail)
    if attempt.result == "unknown" or standing.doubtful:
        due_ms = now_ms + _backoff_ms(standing, terms)
        in_time = due_ms < standing.command.deadline_ms
        return Wait(due_ms, False) if _may_act_blindly(standing, terms) and in_time else Look(now_ms)
    if attempt.result == "failed":
        return Conclude("failed", attempt.detail)
    return _again(standing, attempt.detail, terms, now_ms)


def after_look(standing: Standing, found: Found, terms: Terms, now_ms: int) -> Wait | Look | Conclude:
    """When the world was looked at; `standing.looks` counts this look too."""
    if found.state == "done":
        return Conclude("succeeded", found.detail)
    if found.state == "absent":
        settled_ms = standing.attempt_over_ms + terms.settle_ms
        if now_ms < settled_ms:
            return Look(settled_ms)  # It may be on its way still.
        return _again(standing, found.detail, terms, now_ms)
    given_up_ms = standing.first_look_ms + terms.reconcile_for_ms
    if now_ms >= given_up_ms:
        return Conclude("unknown", found.detail or "nobody could say whether it was done")
    return Look(min(now_ms + _look_pause_ms(standing.looks), given_up_ms))


def concluded(standing: Standing, conclude: Conclude, now_ms: int) -> Conclusion:
    """What goes into the ledger."""
    return Conclusion(
        command_id=standing.command.lineage.message_id,
        status=conclude.status,
        detail=_bounded(conclude.detail),
        attempts=standing.attempts,
        begun_ms=standing.begun_ms,
        finished_ms=now_ms,
    )


def outcome_of(command: Command, conclusion: Conclusion) -> Outcome:
    """The outcome that re-enters the loop: from the ledger's words alone, so that each copy has the same bytes."""
    return Outcome(
        lineage=command.lineage.returning("outcome", trail_step(command.agent, command.subject, command.intent)),
        subject=command.subject,
        occurred_ms=conclusion.finished_ms,
        command_id=command.lineage.message_id,
        decision_id=command.decision_id,
        agent=command.agent,
        intent=command.intent,
        action_class=command.action_class,
        executor=command.executor,
        status=conclusion.status,
        attempts=conclusion.attempts,
        detail=conclusion.detail,
        begun_ms=conclusion.begun_ms,
    )


def _again(standing: Standing, detail: str, terms: Terms, now_ms: int) -> Wait | Conclude:
    if standing.attempts >= terms.attempts_max:
        return Conclude("failed", f"nothing was done; attempts: {standing.attempts}; {detail}")
    due_ms = now_ms + _backoff_ms(standing, terms)
    if due_ms >= standing.command.deadline_ms:
        return Conclude("expired", f"nothing was done and no time is left; attempts: {standing.attempts}; {detail}")
    return Wait(due_ms, True)


def _may_act_blindly(standing: Standing, terms: Terms) -> bool:
    return standing.command.idempotent and standing.attempts < terms.attempts_max


def _backoff_ms(standing: Standing, terms: Terms) -> int:
    """Doubled from attempt to attempt."""
    return terms.backoff_ms << max(0, standing.attempts - 1)


def _look_pause_ms(looks: int) -> int:
    return min(LOOK_PAUSE_MS << min(looks, 16), LOOK_PAUSE_MS_MAX)


def _bounded(detail: str) -> str:
    return detail if len(detail) <= DETAIL_CHARS_MAX else detail[: DETAIL_CHARS_MAX - 3] + "..."
