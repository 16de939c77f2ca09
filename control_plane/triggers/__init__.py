"""How facts come in by themselves. A trigger publishes events and knows nothing of what follows from them."""

from control_plane.triggers.building import (
    build_trigger,
    build_triggers,
    build_webhooks,
    event_again,
    examine_trigger,
    trigger_kinds,
    webhook_names,
)
from control_plane.triggers.tools import TriggerTools
from control_plane.triggers.trigger import Publish, Trigger
from control_plane.workspace.examined import Examined, Formula, Problem

__all__ = [
    "Examined",
    "Formula",
    "Problem",
    "Publish",
    "Trigger",
    "TriggerTools",
    "build_trigger",
    "build_triggers",
    "build_webhooks",
    "event_again",
    "examine_trigger",
    "trigger_kinds",
    "webhook_names",
]
