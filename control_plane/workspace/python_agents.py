"""A Python agent from its source text, in a namespace of its own.

The text itself is the control item, so that a replay runs exactly the version that ran.
"""

from typing import cast

from control_plane.catalogue import ControlItem
from control_plane.ports.agent import Agent as AgentPort
from control_plane.sdk import Agent, SlowAgent
from control_plane.workspace.python_files import NotOne, only_class


def load_agent(item: ControlItem) -> AgentPort:
    """The one agent that a file declares. Raises ValueError unless it is one, and whatever the file raises."""
    file = f"agents/{item.name}.py"
    try:
        found = only_class(file, item.body, f"setpoint_agent_{item.name}_{item.revision}", (Agent, SlowAgent))
    except NotOne as exc:
        raise ValueError(f"{file} declares {exc.count} agents; a file holds exactly one") from None
    missing = [name for name in ("name", "version", "listens_to", "intents") if not hasattr(found, name)]
    if missing:
        raise ValueError(f"{file}: {found.__name__} does not set {', '.join(missing)}")
    # A slow agent is declared alike; `AgentInForce.slow` tells them apart.
    return cast(AgentPort, found())
