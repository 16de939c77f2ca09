"""Expressions in users' files: compiled once, evaluated on one scope per event."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from control_plane.messages.context import ExpressionMiss

__all__ = ["ExpressionInvalid", "ExpressionMiss", "Expressions", "Program", "Scope", "Sieve", "Sifted"]


class Scope(Protocol):
    """The variables of one event, built once and shared by every program that is evaluated on it."""


class Program(Protocol):
    """One compiled expression."""

    source: str
    reads: frozenset[str]
    """Top-level variables that the expression names, such as `data` and `rows`."""
    paths: frozenset[tuple[str, ...]]
    """The same with their fields, as far as these are constant: `("rows", "service_health", "rss_mb")`. Of a table that
    is read by key, `[]` stands for the key: `("reference", "sites", "[]", "region")`."""

    def evaluate(self, scope: Scope) -> Any:
        """The value. Raises ExpressionMiss when a field is missing or a type does not fit."""


class Sifted(NamedTuple):
    """Which of many programs hold, by their positions in order, and how many could not for want of a field or its
    type."""

    holding: Sequence[int]
    missed: int


class Sieve(Protocol):
    """Many programs that are asked together, for far less than one by one. Made once, used on every event of a type."""

    def sift(self, scope: Scope) -> Sifted:
        """Those whose value on this scope is `true`."""


class ExpressionInvalid(Exception):
    """The text is no expression. `column` counts from 1 within the text, 0 when not known."""

    def __init__(self, detail: str, column: int = 0) -> None:
        super().__init__(detail)
        self.column = column


class Expressions(Protocol):
    """An expression language."""

    def compile(self, text: str) -> Program:
        """Raises ExpressionInvalid."""

    def scope(self, variables: Mapping[str, Any], programs: Sequence[Program] = ()) -> Scope:
        """A scope in which the variables can be read. Naming the programs to be evaluated on it makes it cheaper."""

    def sieve(self, programs: Sequence[Program]) -> Sieve:
        """The programs, to be asked together which of them hold."""
