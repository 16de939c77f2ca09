"""A fact that happened. Its type is in the past tense: `service.latency_measured`."""

from datetime import datetime
from typing import Any

from msgspec import Struct

from control_plane.causality import Lineage


class Event(Struct, frozen=True, kw_only=True):
    """One fact about one subject. `occurred_at` is the producer's word (aware, UTC) and never counts as now."""

    lineage: Lineage
    type: str
    subject: str
    occurred_at: datetime
    data: dict[str, Any] = {}
    dataschema: str | None = None


TICK = "clock.tick"
"""A partition's owner says that time has passed; due timers follow it."""

CONTROLS_ADOPTED = "controls.adopted"
"""From this record on, the partition follows the controls that `data.revision` names."""

PARTITION_SUMMARISED = "partition.summarised"
"""What an owner tells every partition of those that it owns: its fleets' counts and the sources that it heard."""

PARTITION_CLAIMED = "partition.claimed"
"""A worker took the partition: it is the owner until the next claim."""

OF_THE_OWNER = frozenset({TICK, CONTROLS_ADOPTED, PARTITION_SUMMARISED, PARTITION_CLAIMED})
"""What the owner of a partition says to all of it; no agent is ever shown one."""

SUBJECT_REGISTERED = "subject.registered"
"""The subject exists from here on: it counts in the fleets that it is a member of. Anybody may say so."""

SUBJECT_RETIRED = "subject.retired"
"""The subject exists no longer and counts in no fleet."""

BUILT_IN = frozenset({SUBJECT_REGISTERED, SUBJECT_RETIRED})
"""Types that are known without being declared; anybody may publish them."""

DECISION_PROPOSED = "decision.proposed"
"""A proposal from outside the fused loop: a slow agent, a person, another partition."""

EFFECT_JUDGED = "effect.judged"
"""What the loop found out about its own action, for agents that learn."""

OUTCOME_PREFIX = "command."
"""Outcomes come back as `command.succeeded`, `command.failed` and so on."""

CANCELLATION_REQUESTED = "cancellation.requested"
"""A person wants a command not to be begun; executors heed it at the instant of acting."""

SHOWN_AGAIN = "event.shown_again"
"""An event that one agent failed on is shown to that agent once more, and to nobody else."""

RESERVED = frozenset(
    {
        *OF_THE_OWNER,
        DECISION_PROPOSED,
        EFFECT_JUDGED,
        CANCELLATION_REQUESTED,
        SHOWN_AGAIN,
    }
)
"""Types that only Setpoint itself may publish; with `OUTCOME_PREFIX` they are refused from outside."""


def is_reserved(event_type: str) -> bool:
    """Whether only Setpoint itself may publish events of this type."""
    return event_type in RESERVED or event_type.startswith(OUTCOME_PREFIX)
