"""What the owners of partitions tell one another of fleets and sources: facts on the log, and what is known from them.

A summary is the `data` of a `partition.summarised` event. It is as old as its record; nobody may act on it as if it
were the world.
"""

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from control_plane.errors import InvalidMessage

FLEET_SUMMARY_INTERVAL_MS = 1_000
"""How often an owner tells at most; and so how far the counts of another partition may be behind."""

FLEET_SUMMARY_REPEAT_MS = 5_000
"""After how long an owner tells again although nothing changed, so that its silence means something."""

SUMMARY_AGE_MAX_MS = 20_000
"""A partition that was last heard of longer ago is not known any more, and with it no share of any fleet."""

HEARD_SOURCES_MAX = 128
"""Event sources that a partition remembers to have heard of, the last heard ones."""

_Number = Annotated[int, Meta(ge=0)]
_Partition = Annotated[str, Meta(pattern=r"^\d+$")]


class FleetCount(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One fleet in one partition. `down` counts members that are not healthy or have a live command, each once.

    `revision` names the fleet's definition: counts under another one say nothing.
    """

    revision: str
    size: _Number
    healthy: _Number
    in_flight: _Number
    down: _Number


class PartitionsSummary(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one owner tells: the counts of each fleet in each partition that it owns, and when it last heard a source.

    `partitions` is how many there are of `events.v1`, so that whoever hears it knows whom it has not heard of. `epochs`
    says as which owner of each partition it is told: one that was paused may tell once more after a newer owner has.
    `heard` is the greatest append time of an event of each source, milliseconds since the epoch.
    """

    partitions: Annotated[int, Meta(ge=1)]
    counts: dict[_Partition, dict[str, FleetCount]]
    epochs: dict[_Partition, _Number] = {}
    heard: dict[str, _Number] = {}


class FleetSummary(Struct, frozen=True, kw_only=True):
    """A whole fleet, as far as it is known in one partition at one record. `unknown` says why it is not, if so.

    `here` members are in that partition. `untold` of those that are down were not when the others were told last; it is
    less than nothing when more came up.
    """

    size: int = 0
    healthy: int = 0
    in_flight: int = 0
    down: int = 0
    here: int = 0
    untold: int = 0
    unknown: str = ""


def summary_of(data: dict[str, Any]) -> PartitionsSummary:
    """What a `partition.summarised` event says. Raises InvalidMessage."""
    try:
        return msgspec.convert(data, PartitionsSummary)
    except msgspec.ValidationError as exc:
        raise InvalidMessage(
            "schema_broken", f"this is no summary: {exc}", field="data", cure="Only owners of partitions may write it."
        ) from exc
