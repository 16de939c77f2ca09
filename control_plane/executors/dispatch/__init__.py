"""From `commands.v1` to outcomes in `events.v1`: each command once, whatever is delivered twice or killed.

Nothing here may know how an act is done, or decide whether it is allowed: it only may refuse.
"""

from control_plane.executors.dispatch.bounds import DispatchBounds
from control_plane.executors.dispatch.counters import DispatchCounters
from control_plane.executors.dispatch.dispatch import Dispatch

__all__ = ["Dispatch", "DispatchBounds", "DispatchCounters"]
