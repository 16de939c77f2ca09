"""The ruling on one decision: of the guards, of policy, or of both."""

from typing import Any, Literal

from msgspec import Struct

from control_plane.causality import Lineage
from control_plane.messages.ruling import Reason


class Verdict(Struct, frozen=True, kw_only=True):
    """What became of a decision and why. `stage` names the step of the order that ended it.

    `policy_input` is all that policy was asked with, so that another policy can rule on it later; it is empty when a
    guard stopped the decision first. `problem` is set when the engine could not rule.
    """

    lineage: Lineage
    subject: str
    occurred_ms: int
    decision_id: str
    agent: str
    intent: str
    answer: Literal["allow", "deny", "escalate", "hold"]
    stage: str
    reasons: tuple[Reason, ...]
    controls_revision: str
    policy_revision: str = ""
    policy_input: dict[str, Any] | None = None
    problem: str | None = None
