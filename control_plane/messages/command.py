"""An allowed decision, addressed to one executor. Nothing that is not allowed is ever one."""

from typing import Any

from msgspec import Struct

from control_plane.causality import Lineage


class Command(Struct, frozen=True, kw_only=True):
    """What is to be done. The message id is the idempotency key; `deadline_ms` is milliseconds since the epoch."""

    lineage: Lineage
    subject: str
    occurred_ms: int
    decision_id: str
    agent: str
    intent: str
    parameters: dict[str, Any]
    executor: str
    action_class: str
    idempotent: bool
    deadline_ms: int
    controls_revision: str = ""
