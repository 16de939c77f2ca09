"""One CEL program, and the variables of one event as programs read them: each copied once, and only if it is read."""

import datetime
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from control_plane.adapters.cel.flatten import Flat
from control_plane.adapters.cel.library import cel
from control_plane.adapters.cel.needs import ABSENT, FLAT_NAME, SCALARS, Need, value_of
from control_plane.ports.expressions import ExpressionInvalid, ExpressionMiss, Scope

FAULTS: Final = (LookupError, TypeError, ArithmeticError, ValueError, RuntimeError)
"""What the library raises for missing keys, wrong types, overflow, bad conversions, and undefined variables."""

_PLACE = re.compile(r"<input>:(\d+):(\d+): (?:Syntax error: )?(.*)")


class CelScope:
    """The variables of one event; they must not change while the scope is in use."""

    __slots__ = ("_variables", "absent", "context", "names", "values")

    def __init__(self, variables: Mapping[str, Any]) -> None:
        self._variables = variables
        self.context = cel.Context()
        self.names: set[str] = set()
        """Flat variables that were looked up, whether they were found or not."""
        self.values: dict[str, Any] = {}
        """Those that were found, as they came."""
        self.absent: set[str] = set()
        """Those that were not."""

    def provide(self, needs: tuple[Need, ...]) -> None:
        """Look up what was not yet. What is missing stays undefined: reading it is a miss, passing by it is none."""
        for need in needs:
            if need.name not in self.names:
                self.names.add(need.name)
                self._add(need.name, value_of(need, self._variables))

    def _add(self, name: str, value: Any) -> None:
        if value is ABSENT:
            self.absent.add(name)
            return
        try:
            self.context.add_variable(name, value)
            self.values[name] = value
        except (ValueError, TypeError, OverflowError):
            # No CEL value, such as a lone surrogate in a text: as good as missing.
            self.absent.add(name)


class CelProgram:
    """One compiled expression. `flat` is its text over flat variables; without one of those that it `demands` it is
    sure to miss or not to hold."""

    __slots__ = ("_names", "anchor", "demands", "execute", "flat", "needs", "paths", "reads", "source")

    def __init__(self, source: str, flat: Flat) -> None:
        self.source = source
        self.paths = frozenset(path for need in flat.needs for path in need.paths)
        self.reads = frozenset(path[0] for path in self.paths)
        self.execute: Callable[[Any], Any] = compiled(flat.text).execute
        self.flat = flat.text
        self.anchor = flat.anchor
        self.needs = flat.needs
        self.demands = frozenset(need.name for need in flat.needs) if flat.demanding else frozenset()
        self._names = frozenset(need.name for need in flat.needs)

    def evaluate(self, scope: Scope) -> Any:
        """The value. Raises ExpressionMiss when a field is missing or a type does not fit."""
        assert isinstance(scope, CelScope), "programs and scopes come from one adapter"
        if not self._names <= scope.names:
            scope.provide(self.needs)
        try:
            value = self.execute(scope.context)
        except FAULTS as exc:
            raise ExpressionMiss(self._why(exc)) from exc
        return value if value.__class__ in _SCALARS else _ordered(value)

    def _why(self, exc: Exception) -> str:
        detail = str(exc.args[0]) if exc.args else type(exc).__name__
        name = FLAT_NAME.search(detail)
        if name:
            shown = [need.shown for need in self.needs if need.name == name.group()]
            return f"{shown[0]} is missing or cannot be read" if shown else detail
        return f"{detail} is missing" if isinstance(exc, KeyError) else detail.splitlines()[0]


_SCALARS: Final = SCALARS | {datetime.datetime, datetime.timedelta}


def compiled(text: str) -> Any:
    """The library's program. Raises ExpressionInvalid."""
    try:
        return cel.compile(text)
    except ValueError as exc:
        raise _invalid(text, str(exc)) from exc


def _invalid(text: str, detail: str) -> ExpressionInvalid:
    """The parser's first complaint, with its line and column turned into a column of the whole text."""
    found = _PLACE.search(detail)
    if found is None:
        return ExpressionInvalid(detail.splitlines()[0])
    line, column, what = int(found.group(1)), int(found.group(2)), found.group(3)
    before = sum(len(earlier) + 1 for earlier in text.split("\n")[: line - 1])
    what = what.split(" expecting {")[0].replace("mismatched input '<EOF>'", "the expression ends too early")
    return ExpressionInvalid(what, before + column)


def _ordered(value: Any) -> Any:
    """The same value with the keys of maps in one order everywhere: the library's order is random."""
    if isinstance(value, dict):
        return {key: _ordered(value[key]) for key in sorted(value, key=str)}
    return [_ordered(item) for item in value] if isinstance(value, list) else value
