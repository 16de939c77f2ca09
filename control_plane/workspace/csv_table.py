"""A table in a CSV file: the first column is the key, and the header says of each column what it holds.

`site,region,lat:number,open:bool`: text where nothing is said. An empty cell is a field that the row does not have.
"""

import csv
import math
import re
from collections.abc import Callable, Mapping
from io import StringIO
from typing import Any, Final

import msgspec
from msgspec import Struct

from control_plane.catalogue.definitions import Name
from control_plane.workspace.files import SourceFile
from control_plane.workspace.flaws import Flaws, did_you_mean, shown
from control_plane.workspace.yaml_tree import Node

COLUMNS_MAX = 64
CELL_CHARS_MAX = 1_000
INTEGER_BITS = 63

NOTHING: Final = object()
"""In place of a field that a row does not have."""

_INT = re.compile(r"[-+]?[0-9]{1,19}")
_NUMBER = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]{1,3})?")


class _Name(Struct):
    name: Name


class _Wrong(Exception):
    """A cell that does not hold what its column wants."""


class _Column(Struct, frozen=True):
    name: str
    kind: str


class CsvReading:
    """One CSV file, read once."""

    def __init__(self, source: SourceFile, flaws: Flaws) -> None:
        self._file = source.path
        self._reader = csv.reader(StringIO(source.text), strict=True)
        self._flaws = flaws
        self._before = len(flaws)

    def rows(self) -> tuple[tuple[str, ...], dict[str, dict[str, Any]]] | None:
        """The columns, the key first, and the rows by their key; None when the file has flaws."""
        try:
            columns = self._header()
            rows = self._body(columns) if columns else {}
        except csv.Error as exc:
            self._flaw(f"this is no CSV: {exc}", "Check the quotes here.")
            return None
        return (
            (tuple(column.name for column in columns), rows) if columns and len(self._flaws) == self._before else None
        )

    def _header(self) -> list[_Column]:
        cells = next(self._reader, [])
        if not any(cells):
            self._flaw("it has no header", "Begin it with the names of its columns, the key first: site,region.")
            return []
        if len(cells) > COLUMNS_MAX:
            self._flaw(f"it has {len(cells)} columns, more than {COLUMNS_MAX}", "Divide it into several tables.")
            return []
        columns = [_Column(name.strip(), kind.strip() or "text") for name, _, kind in map(_parted, cells)]
        for at, column in enumerate(columns):
            self._check_column(column, [earlier.name for earlier in columns[:at]], is_key=at == 0)
        return columns if len(self._flaws) == self._before else []

    def _check_column(self, column: _Column, earlier: list[str], *, is_key: bool) -> None:
        if not is_name(column.name):
            problem = f"a column cannot be called {shown(column.name)}"
            self._flaw(problem, "Write a name: lower case, digits and underscores.")
        elif column.name in earlier:
            self._flaw(f"the column {column.name} stands here a second time", "Rename one of them.")
        if column.kind not in _READ:
            problem = f"the column {column.name} cannot hold {shown(column.kind)}"
            self._flaw(problem, did_you_mean(column.kind, _READ, "Choose one."))
        elif is_key and column.kind not in ("text", "int"):
            self._flaw(f"the key {column.name} cannot be a {column.kind}", "The first column is text or int.")

    def _body(self, columns: list[_Column]) -> dict[str, dict[str, Any]]:
        rows: dict[str, dict[str, Any]] = {}
        lines: dict[str, int] = {}
        for cells in self._reader:
            if not any(cells):
                continue
            row = self._row(columns, cells)
            key = key_of(row.get(columns[0].name, NOTHING)) if row is not None else None
            if row is None:
                continue
            if key is None:
                self._flaw(f"the row has no {columns[0].name}", "Give each row a key of its own.")
            elif is_new(self._file, self._place(), key, lines, self._flaws):
                rows[key] = row
        return rows

    def _row(self, columns: list[_Column], cells: list[str]) -> dict[str, Any] | None:
        if len(cells) != len(columns):
            problem = f"the row has {len(cells)} cells, and the table has {len(columns)} columns"
            self._flaw(problem, "Put text that holds a comma in quotes.")
            return None
        row = {}
        for column, cell in zip(columns, cells, strict=True):
            try:
                if cell:
                    row[column.name] = _READ[column.kind](cell)
            except _Wrong as exc:
                self._flaw(f"{column.name} cannot be {shown(cell)}", f"Write {exc}, or nothing.")
        return row

    def _place(self) -> Node:
        return Node(max(1, self._reader.line_num), 1, None)

    def _flaw(self, problem: str, cure: str) -> None:
        self._flaws.add(self._file, self._place(), problem, cure)


def _text(cell: str) -> str:
    if len(cell) > CELL_CHARS_MAX:
        raise _Wrong(f"at most {CELL_CHARS_MAX} characters")
    return cell


def _int(cell: str) -> int:
    value = int(cell) if _INT.fullmatch(cell.strip()) else None
    if value is None or value.bit_length() > INTEGER_BITS:
        raise _Wrong("a whole number of at most 64 bits")
    return value


def _number(cell: str) -> float:
    value = float(cell) if _NUMBER.fullmatch(cell.strip()) else math.inf
    if not math.isfinite(value):
        raise _Wrong("a number")
    return value


def _bool(cell: str) -> bool:
    if cell.strip() not in ("true", "false"):
        raise _Wrong("true or false")
    return cell.strip() == "true"


_READ: Mapping[str, Callable[[str], Any]] = {"text": _text, "int": _int, "number": _number, "bool": _bool}


def _parted(cell: str) -> tuple[str, str, str]:
    return cell.partition(":")


def key_of(value: Any) -> str | None:
    """A key as the table has it: whole numbers are written out, as expressions and JSON have them."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return str(value)
    return value if isinstance(value, str) and 0 < len(value) <= CELL_CHARS_MAX else None


def is_new(file: str, place: Node, key: str, lines: dict[str, int], flaws: Flaws) -> bool:
    """Whether no row before it has the key; `lines` remembers where each stands."""
    if key in lines:
        problem = f"the key {shown(key)} stands here a second time; it is on line {lines[key]} already"
        flaws.add(file, place, problem, "Take one of the rows out.")
        return False
    lines[key] = place.line
    return True


def is_name(text: str) -> bool:
    """Whether a table or a column may be called like this."""
    try:
        msgspec.convert({"name": text}, _Name)
    except msgspec.ValidationError:
        return False
    return True
