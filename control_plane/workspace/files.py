"""A user's folder as texts: which files there are, read once and within limits. Knows no meaning."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from control_plane.workspace.flaws import Flaws, nearest
from control_plane.workspace.yaml_tree import Node

FILE_BYTES_MAX = 1_000_000
FILES_MAX = 10_000
"""Files in one folder of a workspace."""

YAML = (".yaml", ".yml")

FOLDERS: Mapping[str, tuple[str, ...]] = {
    "agents": (*YAML, ".py"),
    "executors": (*YAML, ".py"),
    "fleets": YAML,
    "intents": YAML,
    "policies": (".rego", *YAML),
    "prompts": (".md",),
    "reference": (".csv", *YAML),
    "rows": YAML,
    "schemas": (".json",),
    "triggers": YAML,
}
"""The folders of a workspace, and the endings of the files that are read in each."""

DEEP_FOLDERS = ("policies",)
"""Folders that may hold further ones."""

DATA_FOLDER = "data"

TESTS_FOLDER = "tests"
"""Where a user's own tests of the workspace lie; a service has no use for them."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file: its path from the workspace's root, with forward slashes, and its text."""

    path: str
    text: str

    @property
    def stem(self) -> str:
        """The file's name without folder and last suffix."""
        return Path(self.path).stem


class Folder:
    """A workspace's root. Everything that cannot be read becomes a flaw; `unread` names the folders concerned."""

    def __init__(self, root: Path, flaws: Flaws) -> None:
        self.root = root
        self.unread: set[str] = set()
        self._flaws = flaws

    def one(self, path: str) -> SourceFile | None:
        """A file of the root, or None."""
        return self._read(self.root / path) if (self.root / path).exists() else None

    def in_folder(self, name: str, *suffixes: str) -> list[SourceFile]:
        """The files of a folder that end in one of these, sorted by path."""
        sources = [self._read(path) for path in self._paths(name) if path.suffix in suffixes]
        return [source for source in sources if source is not None]

    def check_names(self) -> None:
        """Point at files and folders that are not read although they look as if they were meant to be."""
        for name, suffixes in FOLDERS.items():
            for path in self._paths(name):
                if path.suffix not in suffixes:
                    cure = f"In {name}/ a file ends in {' or '.join(suffixes)}."
                    self._flaws.warn(self._shown(path), None, "this file is not read", cure)
        for entry in sorted(os.scandir(self.root), key=lambda found: found.name):
            if not entry.is_dir() or entry.name in (*FOLDERS, DATA_FOLDER, TESTS_FOLDER):
                continue
            meant = nearest(entry.name, FOLDERS)
            if meant is not None:
                cure = f"Did you mean {meant}/? Rename it."
                self._flaws.add(f"{entry.name}/", None, "no folder of this name is read", cure)

    def _paths(self, name: str) -> Iterator[Path]:
        """Files below a folder; names that begin with a dot are none of ours (mounted volumes are full of them)."""
        folder = self.root / name
        if not folder.is_dir():
            return
        count = 0
        for base, folders, files in os.walk(folder):
            folders[:] = sorted(f for f in folders if not f.startswith((".", "__"))) if name in DEEP_FOLDERS else []
            for file in sorted(files):
                count += not file.startswith(".")
                if count > FILES_MAX:
                    self._flaws.add(f"{name}/", None, f"more than {FILES_MAX} files lie here", "Join some of them.")
                    self.unread.add(name)
                    return
                if not file.startswith("."):
                    yield Path(base) / file

    def _read(self, path: Path) -> SourceFile | None:
        shown = self._shown(path)
        try:
            return SourceFile(shown, _text(path))
        except _Unreadable as exc:
            self._flaws.add(shown, exc.place, exc.problem, exc.cure)
            self.unread.add(shown.partition("/")[0])
            return None

    def _shown(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()


class _Unreadable(Exception):
    """A file that is no text of ours."""

    def __init__(self, place: Node | None, problem: str, cure: str) -> None:
        super().__init__(problem)
        self.place = place
        self.problem = problem
        self.cure = cure


def _text(path: Path) -> str:
    if not path.is_file():
        raise _Unreadable(None, "it is no regular file", "Put a file here, or take it out.")
    try:
        with path.open("rb") as opened:
            raw = opened.read(FILE_BYTES_MAX + 1)
    except OSError as exc:
        raise _Unreadable(None, f"it cannot be read: {exc.strerror}", "Check who may read it.") from exc
    if len(raw) > FILE_BYTES_MAX:
        raise _Unreadable(None, f"it has more than {FILE_BYTES_MAX} bytes", "Divide it into several files.")
    if b"\0" in raw:
        place = _place(raw[: raw.index(b"\0")])
        raise _Unreadable(place, "it is no text: it holds a zero byte", "Save it as text, or take it out.")
    try:
        return raw.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as exc:
        place = _place(raw[: exc.start])
        raise _Unreadable(place, "it is no text in UTF-8", "Save it as UTF-8, or take it out.") from exc


def _place(before: bytes) -> Node:
    return Node(before.count(b"\n") + 1, len(before) - before.rfind(b"\n"), None)
