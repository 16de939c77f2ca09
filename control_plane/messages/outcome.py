"""What came of a command. It re-enters the loop as an event of type `command.succeeded`, `command.failed` and so on."""

from typing import Literal

from msgspec import Struct

from control_plane.causality import Lineage

Status = Literal["succeeded", "failed", "unknown", "expired", "refused", "compensated"]


class Outcome(Struct, frozen=True, kw_only=True):
    """What one command came to. Times are milliseconds since the epoch, by the executor's clock.

    `detail` is one bounded sentence for people; `attempts` counts how often the executor was called.
    """

    lineage: Lineage
    subject: str
    occurred_ms: int
    command_id: str
    decision_id: str
    agent: str
    intent: str
    action_class: str
    executor: str
    status: Status
    attempts: int
    detail: str = ""
    begun_ms: int | None = None
