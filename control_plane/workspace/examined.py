"""What the judge of a kind says of a definition whose shape is right: what is wrong, what it reads, what it publishes.

The judge knows keys and no lines; the workspace knows where each key stands.
"""

from msgspec import Struct


class Problem(Struct, frozen=True, kw_only=True):
    """One thing that is wrong, under which of the definition's keys, and the cure. What is `of_environment` is wrong
    only where this process runs: elsewhere the same file may be right."""

    path: tuple[str, ...]
    problem: str
    cure: str
    of_environment: bool = False


class Formula(Struct, frozen=True, kw_only=True):
    """An expression, or a text with {expressions} in it, and the variables that it may read."""

    path: tuple[str, ...]
    variables: frozenset[str]
    in_holes: bool = False


class Examined(Struct, frozen=True, kw_only=True):
    """All of it. `types` are the event types that it publishes, as far as they are known before anything comes in."""

    problems: tuple[Problem, ...] = ()
    formulas: tuple[Formula, ...] = ()
    types: frozenset[str] = frozenset()
