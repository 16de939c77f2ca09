"""Has the subject moved on since the agent looked, and is something of this class already under way?"""

from control_plane.governance.case import Case
from control_plane.messages import Reason
from control_plane.ports.expressions import ExpressionMiss

BY = "guard.concurrency"


def check(case: Case) -> Reason | None:
    """Refuses a second live command of one action class, and what no longer holds."""
    decision = case.decision
    if case.superseded:
        return Reason("superseded", f"{decision.agent} was asked about {decision.subject} again since; that counts", BY)
    for live in case.row.live:
        if live.action_class == case.catalogued.action_class:
            return Reason(
                "already_live",
                f"{live.intent} of {live.agent} is under way on {decision.subject} (command {live.command_id})",
                BY,
            )
    if case.from_outside and decision.action_version != case.row.action_version:
        return Reason("outdated", f"something was done to {decision.subject} since {decision.agent} looked at it", BY)
    if case.still_when is not None and not _holds(case):
        return Reason("no_longer_holds", f"still_when does not hold: {case.still_when.source}", BY)
    return None


def _holds(case: Case) -> bool:
    assert case.still_when is not None
    try:
        return case.still_when.evaluate(case.scope) is True
    except ExpressionMiss:
        return False
