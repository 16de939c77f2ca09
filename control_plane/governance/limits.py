"""How often: cool-down and frequency per subject. Only commands count, so a denied decision takes nothing."""

from control_plane.governance.case import Case
from control_plane.messages import Reason

BY = "guard.limits"


def check(case: Case) -> Reason | None:
    """Refuses what would exceed a limit in any window that ends now."""
    intent = case.catalogued
    limits = intent.limits
    cooling = [action for action in case.actions_within(limits.cooldown_ms) if action.intent == intent.name]
    if cooling:
        left_ms = cooling[-1].at_ms + limits.cooldown_ms - case.now_ms
        return Reason("cooldown", f"{intent.name} cools down for another {left_ms} ms on {case.decision.subject}", BY)
    if limits.per_subject_max is not None:
        window_ms = limits.per_subject_window_ms
        done = sum(action.intent == intent.name for action in case.actions_within(window_ms))
        if done >= limits.per_subject_max:
            return Reason(
                "too_often",
                f"{intent.name} was done {done} times on {case.decision.subject} within {window_ms} ms; "
                f"the limit is {limits.per_subject_max}",
                BY,
            )
    return None
