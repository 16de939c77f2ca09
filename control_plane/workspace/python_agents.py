"""A Python agent from its source text, in a namespace of its own.

The text itself is the control item, so that a replay runs exactly the version that ran.
"""

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

from control_plane.catalogue import ControlItem
from control_plane.ports.agent import ASKS_EVERY_MAX_MS, SLOW_ANSWER_MAX_MS
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


_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
_SLOW: Final[Mapping[str, tuple[Callable[[Any], bool], str]]] = {
    "group": (lambda value: isinstance(value, str) and bool(_NAME.fullmatch(value)), "a name"),
    "asks_every_ms": (
        lambda value: type(value) is int and 0 <= value <= ASKS_EVERY_MAX_MS,
        f"a whole number up to {ASKS_EVERY_MAX_MS}",
    ),
    "decide_timeout_s": (
        lambda value: type(value) in (int, float) and 0 < value <= SLOW_ANSWER_MAX_MS / 1000,
        f"a number of seconds up to {SLOW_ANSWER_MAX_MS // 1000}",
    ),
    "in_flight_max": (lambda value: type(value) is int and 1 <= value <= 1_000, "a whole number from 1 to 1000"),
}
"""What a slow agent may declare beside the rest (`ports.agent.SlowAgent`)."""


def slow_flaw(agent: AgentPort) -> str | None:
    """What a slow agent says of how it is to be asked, and cannot mean."""
    if not inspect.iscoroutinefunction(agent.decide):
        return None
    for key, (fits, wanted) in _SLOW.items():
        value = getattr(agent, key, None)
        if value is not None and not fits(value):
            return f"{agent.name}: {key} is no {wanted.removeprefix('a ')}"
    return None
