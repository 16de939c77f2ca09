"""What triggers are built with, and the words for a definition that is wrong. Triggers import no adapter."""

import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

from control_plane.errors import Flaw, InvalidWorkspace
from control_plane.messages import Event
from control_plane.ports.backbone import Output, Position
from control_plane.ports.clock import Clock
from control_plane.ports.expressions import Expressions
from control_plane.ports.positions import Positions

VariableName = Annotated[
    str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=100, description="the name of an environment variable.")
]
Text = Annotated[str, Meta(min_length=1, max_length=2_000)]


@dataclass(frozen=True, kw_only=True, slots=True)
class TriggerTools:
    """`append` returns once records are durable (`ports.backbone`). `admit` judges what would become an event, and
    raises InvalidMessage. `count` is told by trigger how many items became what. `root` is the workspace, to which
    relative paths refer; `environ` is our own environment."""

    root: Path
    expressions: Expressions
    append: Callable[[Sequence[Output]], Awaitable[Sequence[Position]]]
    admit: Callable[[bytes], Event]
    positions: Positions
    clock: Clock
    count: Callable[[str, str, int], None] = lambda _trigger, _became, _many: None
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)


class Keys(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of what `triggers/*.yaml` says of a kind: unknown keys are refused."""


class Declared(Struct, frozen=True, kw_only=True):
    """A trigger's name, and the file that declares it, for whoever has to mend it."""

    name: str
    file: str = ""

    @property
    def source(self) -> str:
        """The CloudEvents `source` of its events."""
        return f"trigger/{self.name}"

    def wrong(self, problem: str, cure: str) -> InvalidWorkspace:
        """What the start ends with when the definition cannot be used here."""
        flaw = Flaw(file=self.file, line=0, column=0, problem=f"trigger {self.name}: {problem}", cure=cure)
        return InvalidWorkspace([flaw])

    def secret(self, tools: TriggerTools, variable: str, chars_min: int) -> str:
        """A secret from the environment. Raises InvalidWorkspace when it is not there, or too short to be one."""
        value = tools.environ.get(variable, "")
        if len(value) < chars_min:
            problem = f"{variable} is shorter than {chars_min} characters" if value else f"{variable} is not set"
            raise self.wrong(problem, f"Set {variable} before the start, as from: openssl rand -hex 32")
        return value
