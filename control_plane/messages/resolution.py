"""What a person has done about a dead letter. It stands beside the letter on `dead_letters.v1`, and follows from it."""

from typing import Final, Literal

from msgspec import Struct

from control_plane.causality import Lineage

BECAUSE_CHARS_MAX: Final = 500
How = Literal["redriven", "discarded"]


class Resolution(Struct, frozen=True, kw_only=True):
    """`redriven`: the record was given back to the loop, and stands on the log where `to_*` says. `discarded`: it is
    left at that. A letter without one is open."""

    lineage: Lineage
    subject: str
    occurred_ms: int
    letter_id: str
    how: How
    by: str
    because: str = ""
    to_topic: str | None = None
    to_partition: int | None = None
    to_offset: int | None = None
