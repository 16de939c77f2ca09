"""A partition of `events.v1` that is ours: its records through the loop, its rows while batches are in flight, the
fleets counted from them. Knows the backbone only as a port."""

from control_plane.partition.partitions import Home, Observer, Partitions

__all__ = ["Home", "Observer", "Partitions"]
