"""Which consumer group serves which slow agent, so that one that hangs holds up only those that share its group."""

from collections.abc import Collection
from typing import Final

from control_plane.ports.agent import SlowAgent

SHARED_GROUP: Final = "agents"
"""Serves every agent that no other group does: those that name none, and those that came after the start."""


class Grouping:
    """The groups that were joined at the start."""

    def __init__(self, joined: Collection[str]) -> None:
        self._joined = frozenset(joined)

    def group_of(self, agent: SlowAgent | None) -> str:
        """The group that serves an agent; one that is in force no longer is answered for by the shared one."""
        wanted = group_name(getattr(agent, "group", None))
        return wanted if wanted in self._joined else SHARED_GROUP


def group_name(group: str | None) -> str:
    """A group on the log, by the name that agents give it."""
    return f"{SHARED_GROUP}-{group}" if group and group != SHARED_GROUP else SHARED_GROUP
