"""What the kinds of executors share: what they are built with, and the word for a definition that cannot be built."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

from control_plane.sdk import Duration, Expressions, parse_duration_ms

Places = Annotated[int, Meta(ge=1, le=1_000)]
"""How many calls may be under way at once."""
Text = Annotated[str, Meta(min_length=1, max_length=2_000)]
VariableName = Annotated[
    str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=100, description="the name of an environment variable.")
]


@dataclass(frozen=True, kw_only=True, slots=True)
class ExecutorTools:
    """`root` is the workspace, to which relative paths in definitions refer; `environ` is our own environment."""

    root: Path
    expressions: Expressions
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)


class DefinitionInvalid(Exception):
    """A definition that has the right shape and still cannot be built; whoever knows the file makes a flaw of it."""

    def __init__(self, field: str, problem: str, cure: str) -> None:
        super().__init__(f"{field}: {problem}. {cure}")
        self.field = field
        self.problem = problem
        self.cure = cure


class Keys(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of what `executors/*.yaml` says of a kind: unknown keys are refused."""


def seconds(duration: Duration) -> float:
    """A duration of a definition."""
    return parse_duration_ms(duration) / 1000
