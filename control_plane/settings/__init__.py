"""What a process is told before it starts: each value, checked, with where it came from.

Reads no file and no clock: the caller gives the mapping of `setpoint.yaml`, the environment and the command line. A
later source wins: defaults, then the file, then `SETPOINT_...`, then the command line.
"""

from control_plane.settings.declared import SETTINGS, Setting
from control_plane.settings.kafka import NO_SECURITY, KafkaSecurity
from control_plane.settings.loading import Given, Settings, without_password
from control_plane.settings.sources import (
    API_KEY_VARIABLE,
    API_VERSION,
    BUNDLE_KEY_VARIABLE,
    FILE,
    URL_VARIABLE,
    unknown_variables,
)
from control_plane.settings.version import setpoint_version

__all__ = [
    "API_KEY_VARIABLE",
    "API_VERSION",
    "BUNDLE_KEY_VARIABLE",
    "FILE",
    "NO_SECURITY",
    "SETTINGS",
    "URL_VARIABLE",
    "Given",
    "KafkaSecurity",
    "Setting",
    "Settings",
    "setpoint_version",
    "unknown_variables",
    "without_password",
]
