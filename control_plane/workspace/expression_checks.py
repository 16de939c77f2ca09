"""Expressions in users' files: do they compile, and does everything that they read exist?"""

import re
from collections.abc import Collection, Mapping

from control_plane.catalogue.reference import REFERENCE
from control_plane.ports.expressions import ExpressionInvalid, Expressions, Program
from control_plane.workspace.flaws import Flaws, did_you_mean
from control_plane.workspace.reference import Tables
from control_plane.workspace.yaml_tree import Node

SUBJECT_FIELDS = frozenset({"kind", "name", "id"})
FLEET_FIGURES = frozenset({"size", "healthy", "in_flight", "down", "healthy_share", "down_share"})
EVENT_FIELDS = frozenset({"type", "source"})

FieldsOfRows = Mapping[str, Collection[str] | None]
"""The fields of each row part that is declared; None where the declaration itself is broken."""

_HOLE = re.compile(r"\{([^{}]+)\}")


class ExpressionChecks:
    """Checks the expressions of one file. `rows` is None when not all rows could be read: then any may exist.
    Without `tables` reference data cannot be read there, and without `fleets`, by name, no fleets."""

    def __init__(
        self,
        file: str,
        expressions: Expressions,
        rows: FieldsOfRows | None,
        flaws: Flaws,
        tables: Tables | None = None,
        fleets: Collection[str] | None = None,
    ) -> None:
        self._file = file
        self._tables = tables
        self._fleets = fleets
        self._expressions = expressions
        self._rows = rows
        self._flaws = flaws

    def check(
        self,
        key: str,
        node: Node | None,
        variables: Collection[str],
        reads: Collection[str] | None = None,
        *,
        must_read: str | None = None,
    ) -> None:
        """One expression under a key. `variables` may be read; of rows only those in `reads`, unless that is None.
        `must_read` is the variable without which it would say the same of everything."""
        if node is None or not isinstance(node.value, str):
            return
        program = self._text(key, node.value, node, 0, variables, reads)
        if program is not None and must_read is not None and must_read not in program.reads:
            problem = f"{key} does not read {must_read}, so it says the same whatever it is"
            self._flaws.add(self._file, node, problem, f"Let it depend on {must_read}.")

    def check_holes(
        self, key: str, node: Node | None, variables: Collection[str], reads: Collection[str] | None = None
    ) -> None:
        """The {expressions} in a sentence."""
        if node is None or not isinstance(node.value, str):
            return
        for hole in _HOLE.finditer(node.value):
            self._text(key, hole.group(1), node, hole.start(1), variables, reads)

    def _text(
        self,
        key: str,
        text: str,
        node: Node,
        shift: int,
        variables: Collection[str],
        reads: Collection[str] | None,
    ) -> Program | None:
        """The expression, compiled; None when it is none."""
        try:
            program = self._expressions.compile(text)
        except ExpressionInvalid as exc:
            place = node.inside(shift + exc.column if exc.column else 0)
            self._flaws.add(self._file, place, f"{key} is no expression: {exc}", "Expressions are CEL.")
            return None
        for path in sorted(program.paths):
            found = self._path(key, path, variables, reads)
            if found is not None:
                problem, cure, steps = found
                self._flaws.add(self._file, node.inside(shift + column_of(program, path, steps)), problem, cure)
        return program

    def _path(
        self, key: str, path: tuple[str, ...], variables: Collection[str], reads: Collection[str] | None
    ) -> tuple[str, str, int] | None:
        """What is wrong with what is read, the cure, and after how many steps it went wrong."""
        first = path[0]
        if first == REFERENCE and self._tables is not None:
            return _unknown_in_tables(key, path, self._tables)
        if first == "fleets" and self._fleets is not None:
            return _unknown_in_fleets(key, path, self._fleets)
        if first not in variables:
            may = ", ".join(sorted(variables))
            if first in ("data", "rows", "subject", "event"):
                return f"{key} reads {first}, which is not there when it is evaluated", f"It may read {may}.", 0
            return f"{key} reads {first}, which is unknown", did_you_mean(first, variables, "Read what is there."), 0
        if len(path) == 1:
            return None
        fixed = {"subject": SUBJECT_FIELDS, "event": EVENT_FIELDS}.get(first)
        if fixed is not None and path[1] not in fixed:
            return f"{first} has no field {path[1]}", did_you_mean(path[1], fixed, "Read another."), 1
        return self._row(key, path, reads) if first == "rows" else None

    def _row(self, key: str, path: tuple[str, ...], reads: Collection[str] | None) -> tuple[str, str, int] | None:
        row = path[1]
        if self._rows is not None and row not in self._rows:
            return f"{key} reads the row {row}, which nothing declares", did_you_mean(row, self._rows, _ROW_CURE), 1
        if reads is not None and row not in reads:
            return f"{key} reads the row {row}, but reads does not list it", f"Add {row} to reads.", 1
        fields = self._rows.get(row) if self._rows is not None else None
        if fields is not None and len(path) > 2 and path[2] not in fields:
            return f"the row {row} has no field {path[2]}", did_you_mean(path[2], fields, "Declare it."), 2
        return None


def _unknown_in_fleets(key: str, path: tuple[str, ...], fleets: Collection[str]) -> tuple[str, str, int] | None:
    if len(path) < 3:
        return f"{key} reads no figure of a fleet", "Write fleets.NAME.healthy_share, for one.", 0
    if path[1] not in fleets:
        cure = did_you_mean(path[1], fleets, "Declare it in fleets/.")
        return f"{key} reads the fleet {path[1]}, which nothing declares", cure, 1
    if path[2] not in FLEET_FIGURES:
        return f"a fleet has no figure {path[2]}", did_you_mean(path[2], FLEET_FIGURES, "Read another."), 2
    return None


def _unknown_in_tables(key: str, path: tuple[str, ...], tables: Tables) -> tuple[str, str, int] | None:
    name, field = path[1], path[3] if len(path) > 3 else None
    if name not in tables.by_name:
        cure = did_you_mean(name, tables.by_name, "Put it into reference/.")
        return (f"{key} reads the table {name}, which nothing declares", cure, 1) if tables.complete else None
    table = tables.by_name[name]
    if table is not None and field is not None and field not in table.fields:
        return f"the table {name} has no field {field}", did_you_mean(field, table.fields, "Add it."), 3
    return None


_ROW_CURE = "Declare it in rows/."


def column_of(program: Program, path: tuple[str, ...], steps: int) -> int:
    """Where a step of a path stands in the text, from 1; 0 when it is written in another way."""
    written = r"\s*\.\s*".join(re.escape(step) for step in path[:steps])
    last = (r"\s*\.\s*" if steps else r"\b") + rf"(?P<step>{re.escape(path[steps])})\b"
    found = re.search(rf"(?<![\w.]){written}{last}", program.source)
    return found.start("step") + 1 if found is not None else 0
