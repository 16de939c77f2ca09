"""Has this flow gone round often enough, or did the same agent already do the same in it?"""

from control_plane.causality.lineage import HOP_COUNT_MAX, trail_step
from control_plane.governance.case import Case
from control_plane.messages import Reason

BY = "guard.lineage"


def check(case: Case) -> Reason | None:
    """Refuses a loop that feeds on itself."""
    decision = case.decision
    if decision.lineage.hop_count >= HOP_COUNT_MAX:
        return Reason(
            "hop_limit", f"the flow has gone round {decision.lineage.hop_count} times; the limit is {HOP_COUNT_MAX}", BY
        )
    if trail_step(decision.agent, decision.subject, decision.intent) in decision.lineage.trail:
        return Reason(
            "own_ancestor", f"{decision.agent} follows from its own {decision.intent} on {decision.subject}", BY
        )
    return None
