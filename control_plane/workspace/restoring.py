"""Control items as files again: so a service judges what somebody sends it exactly as `setpoint check` judges a folder.

Nothing that was sent is believed: names are bounded before they become paths, and what comes out must be what went in.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import msgspec

from control_plane.catalogue import ControlItem, ControlSet
from control_plane.catalogue.controls import TOPIC_OF_KIND
from control_plane.errors import Flaw, InvalidWorkspace
from control_plane.workspace.declarations import FOLDER_OF_HEAD
from control_plane.workspace.files import FILE_BYTES_MAX
from control_plane.workspace.reading import read_workspace
from control_plane.workspace.settings_file import SETTINGS_FILE
from control_plane.workspace.tools import CheckTools

ITEMS_MAX: Final = 20_000
NAME_CHARS_MAX: Final = 200
NAME_DEPTH_MAX: Final = 6
"""Folders in the name of a policy."""

_NOT_PLAIN: Final = re.compile(r"[^\x20-\x7e]")
POLICY_DATA: Final = "policies/data.yaml"
_CURE: Final = "Send the items that `setpoint apply` makes of a folder."


def checked(items: Sequence[ControlItem], tools: CheckTools) -> ControlSet:
    """The set of these items, judged as a folder would be. Raises InvalidWorkspace with everything that is wrong.

    Tests of policies are no items: they ran where the files are.
    """
    wanted = ControlSet.of(items)
    flaws = tuple(_unfit(items))
    if flaws:
        raise InvalidWorkspace(flaws)
    with TemporaryDirectory(prefix="setpoint-check-") as folder:
        root = Path(folder)
        for path, text in {SETTINGS_FILE: "", **_files(items)}.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text, encoding="utf-8", newline="")
        found = read_workspace(root, tools, builtin_policies=False).controls
    if found != wanted:
        raise InvalidWorkspace([_otherwise(set(wanted.items) ^ set(found.items))])
    return wanted


def _files(items: Sequence[ControlItem]) -> Mapping[str, str]:
    """Each item as the file that it may have come from; policy data share one."""
    data = {item.name: msgspec.Raw(item.body.encode()) for item in items if item.kind == "policy_data"}
    files = {_path_of(item): _text_of(item) for item in items if item.kind != "policy_data"}
    return {**files, POLICY_DATA: as_yaml(msgspec.json.encode(data).decode())} if data else files


def _path_of(item: ControlItem) -> str:
    if item.kind == "policy":
        return f"policies/{item.name}.rego"
    if item.kind == "schema":
        return f"schemas/{item.name}.json"
    if item.kind == "agent":
        return f"agents/{item.name}.py"
    if item.kind == "prompt":
        return f"prompts/{item.name}.md"
    suffix = "py" if _source(item) is not None else "yaml"
    return f"{FOLDER_OF_HEAD[item.kind]}/{item.name}.{suffix}"


def _text_of(item: ControlItem) -> str:
    source = _source(item)
    if source is not None:
        return source
    return as_yaml(item.body) if item.kind in FOLDER_OF_HEAD else item.body


def as_yaml(text: str) -> str:
    """JSON as YAML of the same value: it is that already, but for what YAML takes for a line break or does not read."""
    return _NOT_PLAIN.sub(lambda found: f"\\U{ord(found.group()):08x}", text)


def _source(item: ControlItem) -> str | None:
    """The Python of an executor that is written in it."""
    if item.kind != "executor":
        return None
    body = _mapping(item.body)
    source = body.get("source") if body.get("kind") == "python" else None
    return source if isinstance(source, str) else None


def _mapping(text: str) -> Mapping[str, Any]:
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _unfit(items: Sequence[ControlItem]) -> Iterator[Flaw]:
    """What keeps items from becoming files at all."""
    if len(items) > ITEMS_MAX:
        yield _flaw("items", f"there are {len(items)} items, more than {ITEMS_MAX}")
        return
    seen: set[tuple[str, str]] = set()
    for item in items:
        place = f"{item.kind[:NAME_CHARS_MAX]}/{item.name[:NAME_CHARS_MAX]}"
        if item.kind not in TOPIC_OF_KIND:
            yield _flaw(place, f"there is no kind of item {item.kind[:NAME_CHARS_MAX]!r}")
        elif not _is_name(item):
            yield _flaw(place, "an item cannot be called that")
        elif (item.kind, item.name) in seen:
            yield _flaw(place, "the item is there twice")
        elif len(item.body.encode()) > FILE_BYTES_MAX:
            yield _flaw(place, f"the item has more than {FILE_BYTES_MAX} bytes")
        elif item.kind == "policy_data" and not _is_json(item.body):
            yield _flaw(place, "policy data is no JSON")
        seen.add((item.kind, item.name))


def _is_name(item: ControlItem) -> bool:
    """Whether the name can be part of a path, and leads nowhere else."""
    parts = item.name.split("/")
    fit = all(part and part[0] not in "._" and part.isprintable() and "\\" not in part for part in parts)
    depth_max = NAME_DEPTH_MAX if item.kind == "policy" else 1
    return fit and len(parts) <= depth_max and len(item.name.encode()) <= NAME_CHARS_MAX


def _is_json(text: str) -> bool:
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def _otherwise(items: set[ControlItem]) -> Flaw:
    first = min(items, key=lambda item: item.key)
    return _flaw(f"{first.kind}/{first.name}", f"{len(items)} items do not stay the same when they are read")


def _flaw(place: str, problem: str) -> Flaw:
    return Flaw(file=place, line=0, column=0, problem=problem, cure=_CURE)
