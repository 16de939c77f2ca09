"""Reference data: tables that are the same on every worker, read by key in expressions, rows and policies.

A table is a control item, so it is versioned and in force from a record on, like everything else that is declared.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import msgspec
from msgspec import Struct

from control_plane.ports.expressions import Expressions, Program, Scope, Sieve

REFERENCE = "reference"
"""What tables are called in expressions, and below `data` in policies."""

POLICY_REFERENCE = f"data.{REFERENCE}"
"""What stands in a policy that reads a table."""

TableRows = Mapping[str, Mapping[str, Any]]
"""The rows of a table by their key, which is text; each holds all its fields, the key among them."""


class TableBody(Struct, frozen=True, kw_only=True):
    """A table as it travels: `key` names the field that the rows' keys are taken from."""

    reference: str
    key: str
    rows: dict[str, dict[str, Any]]


class _RawBody(Struct):
    rows: msgspec.Raw


class _Item(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def body(self) -> str: ...


def tables_of(items: Iterable[_Item]) -> dict[str, TableRows]:
    """The tables that some items hold, by name."""
    return {item.name: msgspec.json.decode(item.body, type=TableBody).rows for item in items}


def as_policy_data(items: Sequence[_Item]) -> str:
    """All tables as policies read them, as JSON: `data.reference.sites["north"]`."""
    rows = {item.name: msgspec.json.decode(item.body, type=_RawBody).rows for item in items}
    return msgspec.json.encode(rows, order="sorted").decode()


class WithReference:
    """An expression language in which every scope knows the tables (`ports.expressions.Expressions`)."""

    def __init__(self, expressions: Expressions, tables: Mapping[str, TableRows]) -> None:
        self._expressions = expressions
        self._tables = tables

    def compile(self, text: str) -> Program:
        """Raises ExpressionInvalid."""
        return self._expressions.compile(text)

    def scope(self, variables: Mapping[str, Any], programs: Sequence[Program] = ()) -> Scope:
        """A scope in which the variables can be read, and the tables."""
        return self._expressions.scope({**variables, REFERENCE: self._tables}, programs)

    def sieve(self, programs: Sequence[Program]) -> Sieve:
        """The programs, to be asked together which of them hold."""
        return self._expressions.sieve(programs)
