"""How facts come in by themselves. A trigger publishes events and knows nothing of what follows from them."""

from control_plane.triggers.building import build_trigger, trigger_kinds
from control_plane.triggers.trigger import Publish, Trigger

__all__ = ["Publish", "Trigger", "build_trigger", "trigger_kinds"]
