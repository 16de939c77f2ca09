"""Whether an outcome did what its decision promised."""

from typing import Literal

from msgspec import Struct

from control_plane.causality import Lineage

Judgement = Literal["effective", "ineffective", "harmful", "unknown"]


class Effect(Struct, frozen=True, kw_only=True):
    """The judgement on one action when its window closed. No data is `unknown`, and unknown is never success."""

    lineage: Lineage
    subject: str
    occurred_ms: int
    decision_id: str
    command_id: str
    agent: str
    intent: str
    effect: Judgement
    samples: int
    because: str
