"""One event where it stands in the log: what a step is about."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from msgspec import Struct

from control_plane.messages import Event
from control_plane.messages.summary import FleetSummary

NO_FLEETS: Final[Mapping[str, FleetSummary]] = MappingProxyType({})
NOT_HEARD: Final[Mapping[str, int]] = MappingProxyType({})


class Arrival(Struct, frozen=True):
    """An event with its offset and append time (`recorded_ms`, milliseconds since the epoch).

    `fleets` are the fleets as they stand right before the record, the subject counted as it was then: its own partition
    exactly, others as they were last told. `heard` is when each foreign source was last heard in any partition, as it
    was last told: append times, milliseconds since the epoch. Both follow from the log alone, as do the partition and
    the log's `generation`, which a person's word raises.
    """

    event: Event
    offset: int
    recorded_ms: int
    fleets: Mapping[str, FleetSummary] = NO_FLEETS
    heard: Mapping[str, int] = NOT_HEARD
    partition: int = 0
    generation: int = 0
