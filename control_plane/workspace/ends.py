"""Executors and triggers as they are in force: their definitions out of a control set.

They come from the log and not from files, so that every process of a service has the same ones.
"""

from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from control_plane.catalogue import ControlItem, ControlSet
from control_plane.catalogue.definitions import IntentDefinition
from control_plane.workspace.declarations import FOLDER_OF_HEAD

Definition = Mapping[str, Any]


def executors_in(controls: ControlSet, undeclared: Collection[str]) -> dict[str, Definition]:
    """Every executor by name. `undeclared` are the kinds that intents may name without a declaration."""
    declared = {item.name: _definition(item) for item in controls.of_kind("executor")}
    intents = [msgspec.json.decode(item.body, type=IntentDefinition) for item in controls.of_kind("intent")]
    named = {intent.executor for intent in intents}
    implied = {kind: {"name": kind, "kind": kind, "file": ""} for kind in undeclared if kind in named}
    return {**implied, **declared}


def triggers_in(controls: ControlSet) -> dict[str, Definition]:
    """Every trigger by name."""
    return {item.name: _definition(item) for item in controls.of_kind("trigger")}


def _definition(item: ControlItem) -> Definition:
    """Its own keys with `name`, `kind` and `file`, as `Workspace` has them."""
    body: dict[str, Any] = msgspec.json.decode(item.body)
    written = body.pop(item.kind)
    assert written == item.name, "an item is named after what it declares"
    suffix = "py" if "source" in body else "yaml"
    file = f"{FOLDER_OF_HEAD[item.kind]}/{item.name}.{suffix}"
    return {**body, "name": item.name, "kind": body.get("kind") or item.name, "file": file}
