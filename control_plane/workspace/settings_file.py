"""`setpoint.yaml` as a mapping that knows where each value stands. Judges none: `control_plane.settings` does."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from control_plane.errors import Flaw, InvalidWorkspace
from control_plane.settings import without_password
from control_plane.workspace.files import Folder
from control_plane.workspace.flaws import Flaws
from control_plane.workspace.yaml_tree import Node, read_yaml

SETTINGS_FILE = "setpoint.yaml"


@dataclass(frozen=True, slots=True)
class SettingsFile:
    """The settings as they were written."""

    node: Node

    @property
    def mapping(self) -> Mapping[str, Any]:
        """Keys and values, nested as they are."""
        mapping: dict[str, Any] = self.node.plain()
        return mapping

    def flat(self) -> dict[str, str]:
        """Each setting under its whole name, dots between nested keys, as it may be shown."""
        return dict(_flat(self.mapping, ""))

    def locate(self, key: str) -> tuple[int, int]:
        """Line and column of a setting's value, dots between nested keys; (0, 0) when it is not there."""
        node = self.node.get(*key.split("."))
        return (node.line, node.column) if node is not None else (0, 0)


def read_settings(root: Path) -> SettingsFile:
    """The settings of the workspace in a folder. Raises InvalidWorkspace when there is none, or it is no mapping."""
    flaws = Flaws()
    found = settings_in(Folder(root, flaws), flaws)
    if len(flaws):
        raise InvalidWorkspace(tuple(flaws))
    return found


def settings_in(folder: Folder, flaws: Flaws) -> SettingsFile:
    """The settings of a folder, empty where they have flaws. Raises InvalidWorkspace when it is no workspace."""
    nothing = SettingsFile(Node(0, 0, {}))
    if not (folder.root / SETTINGS_FILE).exists():
        problem = f"{folder.root} is no workspace: it has no {SETTINGS_FILE}"
        cure = "Write one with `setpoint init DIR`, or name another folder."
        raise InvalidWorkspace([Flaw(file=SETTINGS_FILE, line=0, column=0, problem=problem, cure=cure)])
    source = folder.one(SETTINGS_FILE)
    documents = read_yaml(source.path, source.text, flaws) if source is not None else None
    if not documents:
        return nothing
    if len(documents) > 1 or not isinstance(documents[0].value, dict):
        flaws.add(SETTINGS_FILE, documents[-1], "settings are one mapping", "Write `key: value` lines, once.")
        return nothing
    return SettingsFile(documents[0])


def _flat(mapping: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    for name, value in mapping.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", without_password(str(value))
