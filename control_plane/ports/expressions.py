"""Expressions in users' files: compiled once, evaluated on one scope per event."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from control_plane.messages.context import ExpressionMiss

__all__ = ["ExpressionInvalid", "ExpressionMiss", "Expressions", "Program", "Scope"]


class Scope(Protocol):
    """The variables of one event, built once and shared by every program that is evaluated on it."""


class Program(Protocol):
    """One compiled expression."""

    source: str
    reads: frozenset[str]
    """Top-level variables that the expression names, such as `data` and `rows`."""
    paths: frozenset[tuple[str, ...]]
    """The same with their fields, as far as these are constant: `("rows", "service_health", "rss_mb")`."""

    def evaluate(self, scope: Scope) -> Any:
        """The value. Raises ExpressionMiss when a field is missing or a type does not fit."""


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
