"""`reference/*.csv` and `reference/*.yaml`: tables that events are looked up in. Knows no expressions."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from control_plane.catalogue import ControlItem
from control_plane.catalogue.definitions import ReferenceDefinition
from control_plane.workspace.csv_table import NOTHING, CsvReading, is_name, is_new, key_of
from control_plane.workspace.files import YAML, Folder, SourceFile
from control_plane.workspace.flaws import Flaws, shown
from control_plane.workspace.shapes import shaped
from control_plane.workspace.yaml_tree import Node, read_yaml

FOLDER = "reference"
CSV = ".csv"

TABLE_ROWS_MAX = 20_000
TABLE_BYTES_MAX = 900_000
"""A table as it travels: it is one record, and brokers take no more than a megabyte in one."""


@dataclass(frozen=True, slots=True)
class Table:
    """One table that was read."""

    item: ControlItem
    file: str
    fields: frozenset[str]


@dataclass(frozen=True, slots=True)
class Tables:
    """All tables by name; None for one that has flaws. `complete` is false when a file could not be read."""

    by_name: dict[str, Table | None] = field(default_factory=dict)
    complete: bool = True

    @property
    def items(self) -> tuple[ControlItem, ...]:
        """The tables as they travel."""
        return tuple(table.item for table in self.by_name.values() if table is not None)


def read_tables(folder: Folder, flaws: Flaws) -> Tables:
    """Every table of the folder."""
    before = len(flaws)
    found: dict[str, Table | None] = {}
    files: dict[str, str] = {}
    for file, place, name, table in [*_from_csv(folder, flaws), *_from_yaml(folder, flaws)]:
        if name in files:
            problem = f"the table {name} is declared a second time; it is in {files[name]} already"
            flaws.add(file, place, problem, "Rename one of them, or take it out.")
        files[name] = file
        found[name] = table
    return Tables(found, complete=len(flaws) == before)


_Found = tuple[str, Node | None, str, Table | None]


def _from_csv(folder: Folder, flaws: Flaws) -> Iterator[_Found]:
    for source in folder.in_folder(FOLDER, CSV):
        name = source.stem
        if not is_name(name):
            problem = f"a table cannot be called {shown(name)}"
            flaws.add(source.path, None, problem, "Name the file in lower case, with digits and underscores.")
            continue
        yield source.path, None, name, csv_table(source, flaws)


def _from_yaml(folder: Folder, flaws: Flaws) -> Iterator[_Found]:
    for source in folder.in_folder(FOLDER, *YAML):
        documents = read_yaml(source.path, source.text, flaws)
        if documents == ():
            cure = "Begin it with `reference: NAME`, or take it out."
            flaws.warn(source.path, None, "this file declares nothing", cure)
        for node in documents or ():
            name = node.text("reference")
            table = yaml_table(source.path, node, flaws)
            if name is not None and is_name(name):
                yield source.path, node, name, table


def csv_table(source: SourceFile, flaws: Flaws) -> Table | None:
    """The table that a file is, or None when it has flaws, which are added."""
    read = CsvReading(source, flaws).rows()
    return _table(source.path, source.stem, *read, flaws) if read is not None else None


def yaml_table(file: str, node: Node, flaws: Flaws) -> Table | None:
    """The table that a document declares, or None when it has flaws, which are added."""
    before = len(flaws)
    definition = shaped(file, node, ReferenceDefinition, flaws)
    if definition is None:
        return None
    rows: dict[str, dict[str, Any]] = {}
    lines: dict[str, int] = {}
    listed = node.get("rows")
    assert listed is not None, "its shape was checked"
    for place, row in zip(listed.value, definition.rows, strict=True):
        value = row.get(definition.key, NOTHING)
        key = key_of(value)
        if key is None:
            said = "has no" if value is NOTHING else f"has {shown(value)} for its"
            cure = f"Give each row a {definition.key} of its own: text or a whole number."
            flaws.add(file, place.get(definition.key) or place, f"the row {said} {definition.key}", cure)
            continue
        if is_new(file, place, key, lines, flaws):
            rows[key] = row
    if len(flaws) > before:
        return None
    fields = {definition.key: None} | dict.fromkeys(column for row in definition.rows for column in row)
    return _table(file, definition.reference, tuple(fields), rows, flaws)


def _table(
    file: str, name: str, fields: tuple[str, ...], rows: dict[str, dict[str, Any]], flaws: Flaws
) -> Table | None:
    """The table of some rows; the first of its fields is the key."""
    if not rows:
        flaws.add(file, None, f"the table {name} has no rows", "Put at least one in it, or take it out.")
        return None
    if len(rows) > TABLE_ROWS_MAX:
        cure = "Divide it into several tables."
        flaws.add(file, None, f"the table {name} has {len(rows)} rows, more than {TABLE_ROWS_MAX}", cure)
        return None
    body = msgspec.json.encode({"key": fields[0], "reference": name, "rows": rows}, order="sorted").decode()
    travels_as = len(msgspec.json.encode(body))
    if travels_as > TABLE_BYTES_MAX:
        cure = "Divide it into several tables, or leave out what nobody reads."
        flaws.add(file, None, f"the table {name} takes {travels_as} bytes, more than {TABLE_BYTES_MAX}", cure)
        return None
    return Table(ControlItem(kind=FOLDER, name=name, body=body), file, frozenset(fields))
