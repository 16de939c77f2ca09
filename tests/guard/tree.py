"""The repository as the laws see it: its files, as git would take them, and its Python as syntax."""

import ast
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
OURS = ("control_plane", "agents", "state")
"""The packages that are ours and that the laws on code judge."""


def files() -> list[str]:
    """Paths of all that is tracked or would be, relative to the root: a law is best broken before the commit."""
    call = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    names = sorted(set(filter(None, listed.split("\0"))))
    assert "Makefile" in names, "git does not list the Makefile: the laws would judge nothing"
    return [name for name in names if (ROOT / name).is_file()]


def texts() -> Iterator[tuple[str, str]]:
    """Every text file with its path."""
    for name in files():
        raw = (ROOT / name).read_bytes()
        if b"\0" not in raw:
            yield name, raw.decode()


def modules() -> Iterator[tuple[str, ast.Module]]:
    """Every module of ours with its path, as syntax."""
    for name, text in texts():
        if name.endswith(".py") and name.split("/")[0] in OURS:
            yield name, ast.parse(text, name)


def documentation() -> str:
    """All that a reader is given: the README, ARCHITECTURE, CONTRIBUTING and everything in docs/."""
    return "\n".join(text for name, text in texts() if name.endswith(".md") and not name.startswith("tests/"))
