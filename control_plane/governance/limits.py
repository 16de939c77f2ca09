"""How often, and how widely: cool-down and frequency per subject, the share of a fleet.

Only commands count, so a denied decision takes nothing.
"""

from control_plane.governance.case import Case
from control_plane.governance.peers import Peers
from control_plane.messages import Reason

BY = "guard.limits"


def check(case: Case) -> Reason | None:
    """Refuses what would exceed a limit in any window that ends now, or take down too much of a fleet at once."""
    return _too_soon(case) or _too_often(case) or _too_wide(case)


def _too_soon(case: Case) -> Reason | None:
    intent = case.catalogued
    cooldown_ms = intent.limits.cooldown_ms
    cooling = [action for action in case.actions_within(cooldown_ms) if action.intent == intent.name]
    if not cooling:
        return None
    left_ms = cooling[-1].at_ms + cooldown_ms - case.now_ms
    return Reason("cooldown", f"{intent.name} cools down for another {left_ms} ms on {case.decision.subject}", BY)


def _too_often(case: Case) -> Reason | None:
    intent = case.catalogued
    limits, window_ms = intent.limits, intent.limits.per_subject_window_ms
    if limits.per_subject_max is None:
        return None
    done = sum(action.intent == intent.name for action in case.actions_within(window_ms))
    if done < limits.per_subject_max:
        return None
    return Reason(
        "too_often",
        f"{intent.name} was done {done} times on {case.decision.subject} within {window_ms} ms; "
        f"the limit is {limits.per_subject_max}",
        BY,
    )


def _too_wide(case: Case) -> Reason | None:
    """Each fleet of the subject must hold. An empty or unknown target is nothing, never everything."""
    share_max = case.catalogued.limits.fleet_share_max
    if share_max is None:
        return None
    if not case.peers:
        return Reason(
            "no_fleet",
            f"{case.decision.subject} is in no fleet, and {case.catalogued.name} is limited to a share of one",
            BY,
        )
    if not case.row.registered:
        return Reason(
            "not_registered",
            f"{case.decision.subject} was never registered or is retired, so it counts in no fleet, and "
            f"{case.catalogued.name} is limited to a share of one",
            BY,
        )
    refusals = (_too_wide_in(peers, share_max, case) for peers in case.peers)
    return next((refusal for refusal in refusals if refusal is not None), None)


def _too_wide_in(peers: Peers, share_max: float, case: Case) -> Reason | None:
    if peers.unknown:
        return Reason("fleet_share_unknown", f"the share of the fleet {peers.fleet} is not known: {peers.unknown}", BY)
    if peers.is_small and share_max > 0:
        if not peers.in_flight:
            return None
        return Reason(
            "fleet_busy",
            f"the fleet {peers.fleet} has {peers.size} members, too few for a share: they are acted on one at a time, "
            f"and {peers.in_flight} is under way",
            BY,
        )
    if peers.share > share_max:
        return Reason(
            "fleet_share",
            f"with {case.decision.subject} {peers.down + 1} of {peers.size} members of the fleet {peers.fleet} would "
            f"be down; at most {share_max:g} of it may be",
            BY,
        )
    part = peers.part_of(share_max)
    if peers.untold <= part:
        return None
    return Reason(
        "fleet_untold",
        f"{peers.untold - 1} of the fleet {peers.fleet} went down here that the other partitions were not told of yet; "
        f"until they are, no more than {part} may",
        BY,
    )
