"""The one fixed order of the guards. The first that refuses ends it; policy is asked only after all of them."""

from collections.abc import Callable
from typing import Final

from control_plane.governance import concurrency, freshness, grant, limits, lineage
from control_plane.governance.case import Case
from control_plane.messages import Reason

Guard = Callable[[Case], Reason | None]

ORDER: Final[tuple[tuple[str, Guard], ...]] = (
    ("grant", grant.check),
    ("lineage", lineage.check),
    ("freshness", freshness.check),
    ("concurrency", concurrency.check),
    ("limits", limits.check),
)
"""Halts and earned autonomy will stand before `grant`, approval and reservation after policy."""

STAGES: Final = (*(stage for stage, _ in ORDER), "policy")
"""Every step by name, as verdicts name the one that ended them."""


def first_refusal(case: Case) -> tuple[str, Reason] | None:
    """The stage and the reason of the first guard that refuses; None when none does."""
    for stage, guard in ORDER:
        reason = guard(case)
        if reason is not None:
            return stage, reason
    return None
