"""`schemas/*.json`: the JSON Schemas of a user's own event types, named after the type."""

import json
import re
from collections import Counter

import msgspec
from msgspec import Struct

from control_plane.catalogue import ControlItem
from control_plane.catalogue.definitions import EventType
from control_plane.messages.event import is_reserved
from control_plane.ports.schemas import SchemaInvalid, SchemaLanguage
from control_plane.workspace.declarations import canonical
from control_plane.workspace.files import Folder, SourceFile
from control_plane.workspace.flaws import Flaws
from control_plane.workspace.yaml_tree import Node

_BYTE = re.compile(r"\(byte (\d+)\)")
_CURE = "Write one JSON Schema (json-schema.org, draft 2020-12)."


class _TypeName(Struct):
    type: EventType


def read_schemas(folder: Folder, schemas: SchemaLanguage, flaws: Flaws) -> list[ControlItem]:
    """The schemas that are fit to be enforced."""
    found = []
    for source in folder.in_folder("schemas", ".json"):
        problem = _problem(source, schemas)
        if problem is None:
            found.append(ControlItem(kind="schema", name=source.stem, body=canonical(msgspec.json.decode(source.text))))
        else:
            flaws.add(source.path, *problem)
    return found


def _problem(source: SourceFile, schemas: SchemaLanguage) -> tuple[Node | None, str, str] | None:
    try:
        msgspec.convert({"type": source.stem}, _TypeName)
    except msgspec.ValidationError:
        return None, f"{source.stem} is no event type", "Name the file after the type, as in service.started.json."
    if is_reserved(source.stem):
        return None, f"{source.stem} is a type that only Setpoint publishes", "Choose another type."
    try:
        schema = msgspec.json.decode(source.text)
    except (msgspec.DecodeError, RecursionError) as exc:
        return _place(source.text, str(exc)), f"this is no JSON: {exc}", _CURE
    if not isinstance(schema, dict):
        return None, "a schema is a JSON object", _CURE
    twice = _key_twice(source.text)
    if twice is not None:
        return None, f"the key {twice} stands in one object a second time", "Take one of them out."
    try:
        schemas.compile(schema)
    except SchemaInvalid as exc:
        return None, f"this is no JSON Schema: {exc}", _CURE
    return None


def _key_twice(text: str) -> str | None:
    """A key that an object of the text has twice: of the two, one would be passed over in silence."""
    found: list[str] = []

    def once(pairs: list[tuple[str, object]]) -> None:
        found.extend(name for name, many in Counter(name for name, _ in pairs).items() if many > 1)

    try:
        json.loads(text, object_pairs_hook=once)
    except (ValueError, RecursionError):
        return None  # Numbers and depths that the one decoder takes and the other does not; the schema's judge follows.
    return found[0] if found else None


def _place(text: str, detail: str) -> Node | None:
    found = _BYTE.search(detail)
    if found is None:
        return None
    before = text.encode()[: int(found.group(1))]
    return Node(before.count(b"\n") + 1, len(before) - before.rfind(b"\n"), None)
