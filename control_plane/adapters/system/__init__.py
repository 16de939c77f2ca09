"""What this machine gives: its clock, and a limit on how long an agent may think."""

from control_plane.adapters.system.clock import SharedClock, SystemClock
from control_plane.adapters.system.time_limit import DECIDE_TIMEOUT_S, TimeLimited

__all__ = ["DECIDE_TIMEOUT_S", "SharedClock", "SystemClock", "TimeLimited"]
