"""What the loop and its executors count, for Prometheus. Every name begins with `setpoint_`."""

from control_plane.adapters.telemetry.metrics import Telemetry

__all__ = ["Telemetry"]
