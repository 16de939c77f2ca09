"""One event where it stands in the log: what a step is about."""

from msgspec import Struct

from control_plane.messages import Event


class Arrival(Struct, frozen=True):
    """An event with its offset and append time (`recorded_ms`, milliseconds since the epoch)."""

    event: Event
    offset: int
    recorded_ms: int
