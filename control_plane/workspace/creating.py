"""An example, copied into a folder of the user's: what `setpoint init` does. Never touches what is there already."""

import shutil
from importlib.resources import as_file, files
from pathlib import Path

from control_plane.errors import InvalidWorkspace
from control_plane.workspace.flaws import did_you_mean, flaw_at

EXAMPLES_PACKAGE = "control_plane.workspace"
IGNORED = ("__pycache__", "*.pyc", "data")


def example_names() -> tuple[str, ...]:
    """The examples that there are."""
    with as_file(files(EXAMPLES_PACKAGE) / "examples") as examples:
        return tuple(sorted(path.name for path in examples.iterdir() if path.is_dir() and path.name[0] not in "._"))


def create_workspace(folder: Path, example: str = "minimal") -> Path:
    """Write an example into a folder, which must not exist yet or be empty. Gives the folder back.

    Raises InvalidWorkspace when there is no such example, or the folder cannot take it; then nothing was written.
    """
    if example not in example_names():
        cure = did_you_mean(example, example_names(), "Choose another.")
        raise InvalidWorkspace([flaw_at(str(folder), None, f"there is no example {example}", cure)])
    _check_empty(folder)
    try:
        with as_file(files(EXAMPLES_PACKAGE) / "examples" / example) as source:
            shutil.copytree(source, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*IGNORED))
    except OSError as exc:
        problem = f"the example cannot be written: {exc.strerror or exc}"
        raise InvalidWorkspace([flaw_at(str(folder), None, problem, "Name a folder that you may write to.")]) from exc
    return folder


def _check_empty(folder: Path) -> None:
    cure = "Nothing was written. Name a new folder, or an empty one."
    if folder.exists() and not folder.is_dir():
        raise InvalidWorkspace([flaw_at(str(folder), None, "there is a file of this name", cure)])
    if folder.is_dir() and any(folder.iterdir()):
        raise InvalidWorkspace([flaw_at(str(folder), None, "the folder is not empty", cure)])
