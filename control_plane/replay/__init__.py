"""The log through the same loop once more: the same versions give the same bytes, and a hash says so.

Nothing here can have an effect on the world: it has a reader, no backbone and no executor.
"""

from control_plane.replay.difference import Difference
from control_plane.replay.instant import Instant, instant
from control_plane.replay.report import Report, render, state_hash
from control_plane.replay.run import replay

__all__ = ["Difference", "Instant", "Report", "instant", "render", "replay", "state_hash"]
