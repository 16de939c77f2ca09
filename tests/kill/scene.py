"""What is killed: a workspace, the load on it, and the world that it acts on. Only the service dies."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Protocol

from control_plane.messages import Command
from tests.kill.history import Findings, History


class Load(Protocol):
    """Facts, sent until they are acknowledged and, where nobody knows whether they came, sent again."""

    @property
    def acknowledged(self) -> set[str]:
        """The ids that the service said it has: those must not be lost."""

    @property
    def order(self) -> list[str]:
        """The ids of the facts in the order in which they were sent for the first time."""

    def until_acknowledged(self, more: int, timeout_s: float = 60.0) -> None:
        """Return once so many more are acknowledged."""

    def stop(self, timeout_s: float = 60.0) -> None:
        """Think of nothing new, and return once all that was begun is acknowledged."""


@dataclass(frozen=True, kw_only=True)
class Deed:
    """One thing that was done in the world, with what the world noticed of it."""

    key: str
    subject: str | None = None
    intent: str | None = None
    parameters: Mapping[str, Any] | None = None

    def is_of(self, command: Command) -> bool:
        """Whether it is what the command asks for, as far as the world can tell."""
        noticed = {"subject": self.subject, "intent": self.intent, "parameters": self.parameters}
        return all(value is None or getattr(command, name) == value for name, value in noticed.items())


@dataclass(frozen=True, kw_only=True)
class Weakness:
    """Where a log of this scene is tampered with: a rule's text that is changed to another, and the type of an event
    that decides at once."""

    rule: str
    before: str
    after: str
    removed_type: str


class Scene(Protocol):
    """One workspace under one load, with its world."""

    foreseen: frozenset[str]
    """Agents that decide on an event at once or not at all, however the service is killed."""
    life_max_s: float
    """A service that its fault point does not kill is killed after at most this long."""
    is_quiet: bool
    """Whether nothing comes in any more once the load has stopped: then all of the log can be accounted for."""

    def playing(self, root: Path, workspace: Path, url: str, seed: int) -> AbstractContextManager[Load]:
        """Write the workspace, open the world, and send to the URL until the end of the context."""

    def deeds(self) -> list[Deed]:
        """What was done in the world so far."""

    def check(self, history: History, findings: Findings) -> None:
        """What must follow from the facts of this scene, and from nothing else."""

    def weakness(self, history: History, rng: Random) -> Weakness:
        """Where to tamper with this log."""
