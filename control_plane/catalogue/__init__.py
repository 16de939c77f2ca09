"""What may be done, what is remembered, who may propose: everything that a user declares, as it is in force."""

from control_plane.catalogue.audiences import AgentInForce, Audience
from control_plane.catalogue.controls import ControlItem, Controls, ControlSet
from control_plane.catalogue.fleets import Fleet, Fleets
from control_plane.catalogue.intent import Intent, Limits

__all__ = ["AgentInForce", "Audience", "ControlItem", "ControlSet", "Controls", "Fleet", "Fleets", "Intent", "Limits"]
