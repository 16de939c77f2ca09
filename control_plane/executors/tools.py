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
    """A definition that has the right shape and still cannot be built; whoever knows the file makes a flaw of it.

    `others` holds what else is wrong in the same definition. What is `of_environment` depends on where it is built: the
    file itself may be right.
    """

    def __init__(self, field: str | tuple[str, ...], problem: str, cure: str, *, of_environment: bool = False) -> None:
        """`field` is dotted, or in parts where a name may hold a dot."""
        self.path = tuple(field.split(".")) if isinstance(field, str) else field
        self.field = ".".join(self.path)
        super().__init__(f"{self.field}: {problem}. {cure}")
        self.problem = problem
        self.cure = cure
        self.of_environment = of_environment
        self.others: tuple[DefinitionInvalid, ...] = ()


class Gathering:
    """Stands around each part of a definition that may be wrong, so that all of them are named, not the first only."""

    def __init__(self) -> None:
        self._found: list[DefinitionInvalid] = []

    def __enter__(self) -> None:
        """A part follows."""

    def __exit__(self, _type: object, error: BaseException | None, _trace: object) -> bool:
        if not isinstance(error, DefinitionInvalid):
            return False
        self._found.append(error)
        return True

    def end(self) -> None:
        """Every part was tried. Raises DefinitionInvalid with all that was found."""
        if self._found:
            first = self._found[0]
            first.others = tuple(self._found[1:])
            raise first


class Keys(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of what `executors/*.yaml` says of a kind: unknown keys are refused."""


class RetryKeys(Keys, frozen=True):
    """Only where it is sure that nothing was done, or where the intent is idempotent."""

    attempts: Annotated[int, Meta(ge=1, le=20)] = 3
    backoff: Duration = "1s"


def seconds(duration: Duration) -> float:
    """A duration of a definition."""
    return parse_duration_ms(duration) / 1000
