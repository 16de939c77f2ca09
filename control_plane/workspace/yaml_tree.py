"""YAML as a tree that knows where each value stands.

The values are those of JSON: `on` is a name and no truth, `12:30` is text, dates are text. Whatever could make a small
file large or endless (anchors that refer to themselves, deep nesting, many values) is refused. Judges no meaning.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import yaml

from control_plane.workspace.flaws import Flaws, shown

NESTING_MAX = 32
VALUES_MAX = 50_000
"""Values in one file, with everything that anchors repeat written out."""

NUMBER_CHARS_MAX = 40

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INT = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_CONSTANTS: Mapping[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


@dataclass(frozen=True, slots=True)
class Node:
    """One value: a scalar, a list of nodes, or a mapping of entries. `size` counts the values in it, itself included.

    `text_column` is where a scalar's text begins when it stands on one line as it is, and 0 otherwise.
    """

    line: int
    column: int
    value: Any
    size: int = 1
    text_column: int = 0

    def plain(self) -> Any:
        """The value without places, as JSON has it."""
        if isinstance(self.value, dict):
            return {name: entry.value.plain() for name, entry in self.value.items()}
        if isinstance(self.value, list):
            return [item.plain() for item in self.value]
        return self.value

    def get(self, *path: str) -> "Node | None":
        """The node under some keys; None where there is none."""
        node: Node | None = self
        for name in path:
            entry = node.value.get(name) if node is not None and isinstance(node.value, dict) else None
            node = entry.value if entry is not None else None
        return node

    def text(self, *path: str) -> str | None:
        """The text under some keys; None where there is none."""
        node = self.get(*path)
        return node.value if node is not None and isinstance(node.value, str) else None

    def inside(self, column: int) -> "Node":
        """The place of one character of this scalar's text, counted from 1; the scalar's own where that is unsure."""
        if not (column and self.text_column):
            return self
        return replace(self, column=self.text_column + column - 1)


@dataclass(frozen=True, slots=True)
class Entry:
    """One key of a mapping, with its value."""

    key: Node
    value: Node


@dataclass(slots=True)
class _Open:
    """A list or mapping that is being read."""

    line: int
    column: int
    anchor: str | None
    items: list[Node] | None = None
    entries: dict[str, Entry] | None = None
    key: Node | None = None
    size: int = 1


class _Refused(Exception):
    """The file cannot be read further."""

    def __init__(self, event: Any, problem: str, cure: str) -> None:
        super().__init__(problem)
        self.place = Node(event.start_mark.line + 1, event.start_mark.column + 1, None)
        self.problem = problem
        self.cure = cure


def read_yaml(file: str, text: str, flaws: Flaws) -> tuple[Node, ...] | None:
    """The documents of a file, or None when it is no YAML of ours. Documents that hold nothing are left out."""
    reader = _Reader(file, text, flaws)
    try:
        documents = tuple(reader.documents())
    except _Refused as refused:
        flaws.add(file, refused.place, refused.problem, refused.cure)
        return None
    except yaml.YAMLError as exc:
        flaws.add(file, *_syntax(exc, text))
        return None
    return None if reader.broken else documents


class _Reader:
    def __init__(self, file: str, text: str, flaws: Flaws) -> None:
        self.broken = False
        self._file = file
        self._text = text
        self._flaws = flaws
        self._anchors: dict[str, Node] = {}
        self._open: list[_Open] = []
        self._values = 0

    def documents(self) -> Iterator[Node]:
        for event in yaml.parse(self._text, Loader=_LOADER):
            self._anchors = {} if isinstance(event, yaml.DocumentStartEvent) else self._anchors
            node = self._node(event)
            if node is None:
                continue
            if self._open:
                self._put(self._open[-1], node, event)
            elif node.value is not None:
                yield node

    def _node(self, event: Any) -> Node | None:
        """The node that this event completes, if it completes one."""
        if isinstance(event, yaml.ScalarEvent):
            return self._completed(self._scalar(event), event.anchor, event)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        if isinstance(event, yaml.SequenceStartEvent | yaml.MappingStartEvent):
            self._start(event)
            return None
        if isinstance(event, yaml.SequenceEndEvent | yaml.MappingEndEvent):
            done = self._open.pop()
            value = done.items if done.items is not None else done.entries
            return self._completed(Node(done.line, done.column, value, done.size), done.anchor, event)
        return None

    def _start(self, event: Any) -> None:
        _refuse_tag(event)
        if len(self._open) >= NESTING_MAX:
            raise _Refused(event, f"values are nested more than {NESTING_MAX} deep", "Make it flatter.")
        place = event.start_mark
        opened = _Open(place.line + 1, place.column + 1, event.anchor)
        if isinstance(event, yaml.MappingStartEvent):
            opened.entries = {}
        else:
            opened.items = []
        self._open.append(opened)

    def _alias(self, event: Any) -> Node:
        node = self._anchors.get(event.anchor)
        if node is None:
            raise _Refused(
                event, f"*{event.anchor} refers to nothing before it, or to itself", "Write the value out instead."
            )
        self._count(node.size, event)
        return replace(node, line=event.start_mark.line + 1, column=event.start_mark.column + 1, text_column=0)

    def _completed(self, node: Node, anchor: str | None, event: Any) -> Node:
        self._count(1, event)
        if anchor is not None:
            self._anchors[anchor] = node
        return node

    def _count(self, values: int, event: Any) -> None:
        self._values += values
        if self._values > VALUES_MAX:
            raise _Refused(event, f"the file holds more than {VALUES_MAX} values", "Divide it into several files.")

    def _put(self, parent: _Open, node: Node, event: Any) -> None:
        parent.size += node.size
        if parent.items is not None:
            parent.items.append(node)
        elif parent.key is None:
            parent.key = self._key(node, event)
        else:
            assert parent.entries is not None, "what is open is a list or a mapping"
            self._enter(parent.entries, parent.key, node)
            parent.key = None

    def _key(self, node: Node, event: Any) -> Node:
        if isinstance(node.value, str):
            return node
        if isinstance(node.value, list | dict):
            raise _Refused(event, "a key is a list or a mapping", "Make it a name.")
        self._flaw(node, f"the key {shown(node.value)} is no text", "Put it in quotes.")
        return replace(node, value=str(node.value))

    def _enter(self, entries: dict[str, Entry], key: Node, node: Node) -> None:
        earlier = entries.get(key.value)
        if earlier is None:
            entries[key.value] = Entry(key, node)
            return
        problem = f"the key {key.value} stands here a second time; it is on line {earlier.key.line} already"
        self._flaw(key, problem, "Take one of them out.")

    def _flaw(self, place: Node, problem: str, cure: str) -> None:
        self.broken = True
        self._flaws.add(self._file, place, problem, cure)

    def _scalar(self, event: Any) -> Node:
        _refuse_tag(event)
        start, end = event.start_mark, event.end_mark
        plain = not event.style
        value = _resolved(event.value) if plain else event.value
        as_it_is = start.line == end.line and end.column - start.column == len(event.value) + (0 if plain else 2)
        text_column = start.column + (1 if plain else 2) if as_it_is else 0
        return Node(start.line + 1, start.column + 1, value, 1, text_column)


def _refuse_tag(event: Any) -> None:
    if event.tag is not None:
        name = event.tag.replace("tag:yaml.org,2002:", "!!")
        raise _Refused(event, f"the tag {name} is not understood", "Take it out; quotes make text of a value.")


def _resolved(text: str) -> Any:
    """A plain scalar as JSON would have it (the core schema of YAML 1.2, without its octal and infinite numbers)."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if len(text) > NUMBER_CHARS_MAX:
        return text
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text) and math.isfinite(float(text)):
        return float(text)
    return text


def _syntax(exc: yaml.YAMLError, text: str) -> tuple[Node | None, str, str]:
    mark = getattr(exc, "problem_mark", None)
    if mark is None:
        reason = str(getattr(exc, "reason", exc)).splitlines()[0]
        position = getattr(exc, "position", None)
        place = _place_of(text, position) if isinstance(position, int) else None
        return place, f"this is no YAML: {reason}", "Take the character out."
    place = Node(mark.line + 1, mark.column + 1, None)
    lines = text.split("\n")
    line = lines[mark.line] if mark.line < len(lines) else ""
    if line[mark.column : mark.column + 1] == "\t":
        return place, "a tab stands where YAML wants spaces", "Indent with spaces."
    problem, context = getattr(exc, "problem", None), getattr(exc, "context", None)
    detail = f"{problem} {context}" if context else f"{problem}"
    return place, f"this is no YAML: {detail}", _syntax_cure(detail)


def _syntax_cure(detail: str) -> str:
    if "mapping values are not allowed" in detail:
        return "Put text that holds a colon in quotes, and check the indentation."
    return "Check brackets, quotes and indentation around here."


def _place_of(text: str, position: int) -> Node:
    before = text[:position]
    return Node(before.count("\n") + 1, position - before.rfind("\n"), None)
