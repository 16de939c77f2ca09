"""A Python agent from its source text, in a namespace of its own.

The text itself is the control item, so that a replay runs exactly the version that ran.
"""

import sys
from types import ModuleType
from typing import cast

from control_plane.catalogue import ControlItem
from control_plane.ports.agent import Agent as AgentPort
from control_plane.sdk import Agent, SlowAgent


def load_agent(item: ControlItem) -> AgentPort:
    """The one agent that a file declares. Raises ValueError unless it is one, and whatever the file raises."""
    module = ModuleType(f"setpoint_agent_{item.name}_{item.revision}")
    # Dataclasses and pickling look a module up by its name.
    sys.modules[module.__name__] = module
    exec(compile(item.body, f"agents/{item.name}.py", "exec"), module.__dict__)
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Agent | SlowAgent) and value.__module__ == module.__name__
    ]
    if len(found) != 1:
        raise ValueError(f"agents/{item.name}.py declares {len(found)} agents; a file holds exactly one")
    missing = [name for name in ("name", "version", "listens_to", "intents") if not hasattr(found[0], name)]
    if missing:
        raise ValueError(f"agents/{item.name}.py: {found[0].__name__} does not set {', '.join(missing)}")
    # A slow agent is declared alike; `AgentInForce.slow` tells them apart.
    return cast(AgentPort, found[0]())
