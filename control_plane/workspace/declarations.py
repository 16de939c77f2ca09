"""The YAML documents of a workspace: each declares one thing by name. Knows shapes, not what refers to what."""

from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import Struct

from control_plane.catalogue import ControlItem
from control_plane.catalogue.definitions import FleetDefinition, IntentDefinition, Name, RowDefinition, RuleDefinition
from control_plane.catalogue.llm import LlmDefinition
from control_plane.errors import Flaw
from control_plane.workspace.files import YAML, Folder
from control_plane.workspace.flaws import Flaws, did_you_mean, flaw_at, nearest, shown
from control_plane.workspace.reference import Tables, read_tables
from control_plane.workspace.shapes import shaped
from control_plane.workspace.yaml_tree import Node, read_yaml

D = TypeVar("D", bound=Struct)

FOLDER_OF_HEAD: Mapping[str, str] = {
    "intent": "intents",
    "row": "rows",
    "fleet": "fleets",
    "rule": "agents",
    "llm": "agents",
    "executor": "executors",
    "trigger": "triggers",
}
"""The key that says what a document declares, and the folder where it belongs."""


class _Named(Struct):
    name: Name


@dataclass(frozen=True, slots=True)
class Declared(Generic[D]):
    """One document. `definition` is None when it has flaws: its name is known all the same."""

    head: str
    name: str
    file: str
    node: Node
    definition: D | None

    @property
    def item(self) -> ControlItem:
        """The document as it travels: canonical JSON of what was written, so that comments make no new version."""
        return ControlItem(kind=self.head, name=self.name, body=canonical(self.node.plain()))


@dataclass(frozen=True, slots=True)
class Declarations(Generic[D]):
    """All documents of one kind by name. `complete` is false when a file could not be read: others may exist."""

    by_name: dict[str, Declared[D]] = field(default_factory=dict)
    complete: bool = True

    def sound(self) -> list[tuple[Declared[D], D]]:
        """The documents without flaws of shape, with what they say."""
        return [(found, found.definition) for found in self.by_name.values() if found.definition is not None]


@dataclass(frozen=True, slots=True)
class Documents:
    """Everything that a workspace declares in YAML. Executors and triggers are shaped by their kind."""

    intents: Declarations[IntentDefinition]
    rows: Declarations[RowDefinition]
    fleets: Declarations[FleetDefinition]
    rules: Declarations[RuleDefinition]
    llms: Declarations[LlmDefinition]
    executors: Declarations[Struct]
    triggers: Declarations[Struct]
    tables: Tables


def is_name(text: object) -> bool:
    """Whether something can be called so."""
    try:
        msgspec.convert({"name": text}, _Named)
    except msgspec.ValidationError:
        return False
    return True


def canonical(value: Any) -> str:
    """JSON with sorted keys: the same value always gives the same text."""
    return msgspec.json.encode(value, order="sorted").decode()


def read_documents(
    folder: Folder, executors: Mapping[str, type[Struct]], triggers: Mapping[str, type[Struct]], flaws: Flaws
) -> Documents:
    """Read every YAML document of the six folders."""
    agents = _Reading(folder, flaws, "rule")
    llms = agents.apart("llm").of(LlmDefinition)
    return Documents(
        intents=_Reading(folder, flaws, "intent").of(IntentDefinition),
        rows=_Reading(folder, flaws, "row").of(RowDefinition),
        fleets=_Reading(folder, flaws, "fleet").of(FleetDefinition),
        rules=agents.of(RuleDefinition),
        llms=llms,
        executors=_Reading(folder, flaws, "executor").of_kinds(executors),
        triggers=_Reading(folder, flaws, "trigger").of_kinds(triggers),
        tables=read_tables(folder, flaws),
    )


class _Reading:
    """The documents of one folder."""

    def __init__(self, folder: Folder, flaws: Flaws, head: str) -> None:
        self._flaws = flaws
        self._head = head
        name = FOLDER_OF_HEAD[head]
        before = len(flaws)
        self._trees: list[tuple[str, Sequence[Node] | None]] = [
            (source.path, read_yaml(source.path, source.text, flaws)) for source in folder.in_folder(name, *YAML)
        ]
        self._complete = len(flaws) == before and name not in folder.unread
        for path, documents in self._trees:
            if documents == ():
                flaws.warn(path, None, "this file declares nothing", f"Begin it with `{head}: NAME`, or take it out.")

    def apart(self, head: str) -> "_Reading":
        """The documents that begin with another head, which stand in the same folder; they are none of these then."""
        other = copy(self)
        other._head = head
        other._trees = [(file, [node for node in nodes or () if _begins(node, head)]) for file, nodes in self._trees]
        self._trees = [(file, [node for node in nodes or () if not _begins(node, head)]) for file, nodes in self._trees]
        return other

    def of(self, definition: type[D]) -> Declarations[D]:
        """The documents, all of one shape."""
        found: dict[str, Declared[D]] = {}
        for file, name, node in self._named():
            found[name] = Declared(self._head, name, file, node, shaped(file, node, definition, self._flaws))
        return Declarations(found, self._complete)

    def of_kinds(self, kinds: Mapping[str, type[Struct]]) -> Declarations[Struct]:
        """The documents, each shaped by its `kind`; without one, by the kind that has its name."""
        found: dict[str, Declared[Struct]] = {}
        for file, name, node in self._named():
            kind = node.text("kind") or name
            definition = kinds.get(kind)
            value = None
            if definition is None:
                place = node.get("kind") or node
                cure = did_you_mean(kind, kinds, "Give it a kind.")
                self._flaws.add(file, place, f"there is no kind of {self._head} {kind}", cure)
            else:
                value = shaped(file, node, definition, self._flaws, without=(self._head, "kind"))
            found[name] = Declared(self._head, name, file, node, value)
        return Declarations(found, self._complete)

    def _named(self) -> Iterable[tuple[str, str, Node]]:
        seen: dict[str, tuple[str, int]] = {}
        for file, documents in self._trees:
            for node in documents or ():
                name = self._name(file, node)
                if name is None:
                    self._complete = False
                    continue
                if name in seen:
                    earlier, line = seen[name]
                    problem = f"{self._head} {name} is declared a second time; it is in {earlier}:{line} already"
                    self._flaws.add(file, node, problem, "Rename one of them, or take it out.")
                    continue
                seen[name] = (file, node.line)
                yield file, name, node

    def _name(self, file: str, node: Node) -> str | None:
        head = self._head
        if not isinstance(node.value, dict):
            self._flaws.add(file, node, f"this document is no {head}", f"Begin it with `{head}: NAME`.")
            return None
        named = node.get(head)
        if named is None:
            self._flaws.extend([_without_head(file, node, head)])
            return None
        name = named.plain()
        if is_name(name):
            return str(name)
        problem = f"{head} cannot be called {shown(name)}"
        self._flaws.add(file, named, problem, "Write a name: lower case, digits and underscores.")
        return None


def _begins(node: Node, head: str) -> bool:
    return isinstance(node.value, dict) and head in node.value


def _without_head(file: str, node: Node, head: str) -> Flaw:
    for other in ("row", "fleet", "rule", "llm", "trigger"):
        if other in node.value and other != head:
            cure = f"Move it to {FOLDER_OF_HEAD[other]}/."
            return flaw_at(file, node.value[other].key, f"a {other} stands where {head}s are declared", cure)
    problem = f"this document does not say which {head} it declares"
    misspelt = nearest(head, node.value)
    if misspelt is not None:
        return flaw_at(file, node.value[misspelt].key, problem, f"Write `{head}:` instead of `{misspelt}:`.")
    return flaw_at(file, node, problem, f"Begin it with `{head}: NAME`.")
