"""The import contracts bite: a tree in which somebody breaks a rule does not pass `make lint`.

That our own tree keeps them is said by `make lint` itself.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.guard.tree import OURS, ROOT

LINT_TIMEOUT_S = 60
VENDORS = [
    "aiokafka",
    "cel",
    "fastapi",
    "faust",
    "httpx",
    "mode",
    "openai",
    "opa_client",
    "psutil",
    "regorus",
    "rich",
    "rocksdict",
    "sqlalchemy",
    "typer",
    "uvicorn",
]


@pytest.fixture(scope="module")
def copied_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("tree")
    shutil.copy(ROOT / "pyproject.toml", copy)
    for package in OURS:
        shutil.copytree(ROOT / package, copy / package, ignore=shutil.ignore_patterns("__pycache__"))
    for room in ("agents/rules", "control_plane/executors"):
        (copy / room).mkdir(parents=True, exist_ok=True)
        (copy / room / "__init__.py").touch()
    return copy


def verdict_on(tree: Path, file: str, text: str) -> str:
    """What import-linter says when a file of the copy has this text added; the copy is then as it was."""
    path = tree / file
    before = path.read_text() if path.exists() else None
    made = [folder for folder in path.parents if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text((before or "") + "\n" + text + "\n")
    try:
        call = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
        environment = {**os.environ, "COLUMNS": "200", "PYTHONDONTWRITEBYTECODE": "1"}
        linted = subprocess.run(
            call, cwd=tree, env=environment, capture_output=True, text=True, timeout=LINT_TIMEOUT_S, check=False
        )
    finally:
        if before is None:
            path.unlink()
        else:
            path.write_text(before)
        for folder in made:
            folder.rmdir()
    assert linted.returncode == 1, f"the contracts are kept in spite of {file}:\n{linted.stdout}{linted.stderr}"
    return linted.stdout


@pytest.mark.parametrize(
    ("file", "text", "complaint"),
    [
        pytest.param("control_plane/utils.py", "", "- control_plane.utils", id="a stray room"),
        pytest.param("state/utils.py", "", "- state.utils", id="a stray room of the state"),
        pytest.param("control_plane/loop/utils.py", "", "- control_plane.loop.utils", id="a stray stage"),
        pytest.param("control_plane/messages/utils.py", "", "- control_plane.messages.utils", id="a stray message"),
        pytest.param(
            "control_plane/causality/broken.py",
            "import control_plane.messages.wire",
            "control_plane.causality is not allowed to import control_plane.messages",
            id="a room imports one above it",
        ),
        pytest.param(
            "control_plane/governance/broken.py",
            "import control_plane.adapters.cel",
            "control_plane.governance is not allowed to import control_plane.adapters",
            id="the core imports an adapter",
        ),
        pytest.param(
            "state/projections/broken.py",
            "import control_plane.loop.step",
            "state.projections is not allowed to import control_plane.loop",
            id="state imports the loop",
        ),
        pytest.param(
            "control_plane/loop/intake.py",
            "import control_plane.loop.approval",
            "control_plane.loop.intake is not allowed to import control_plane.loop.approval",
            id="a stage imports another",
        ),
        pytest.param(
            "control_plane/messages/event.py",
            "import control_plane.messages.command",
            "control_plane.messages.event is not allowed to import control_plane.messages.command",
            id="a message names a later one",
        ),
        pytest.param(
            "agents/rules/broken.py",
            "import control_plane.messages",
            "agents is not allowed to import control_plane.messages",
            id="an agent reaches past the sdk",
        ),
        pytest.param(
            "control_plane/adapters/broken.py",
            "import faust",
            "control_plane is not allowed to import faust",
            id="another adapter names Faust",
        ),
        pytest.param(
            "control_plane/executors/broken.py",
            "import control_plane.loop.step",
            "control_plane.executors.broken is not allowed to import control_plane.loop",
            id="an executor reaches past the sdk",
        ),
    ],
)
def test_a_broken_rule_is_found_and_named(copied_tree: Path, file: str, text: str, complaint: str) -> None:
    assert complaint in verdict_on(copied_tree, file, text)


@pytest.mark.parametrize("room", ["control_plane/governance", "control_plane/sdk", "control_plane/loop", "state"])
def test_no_vendor_may_be_imported_in_an_inner_room(copied_tree: Path, room: str) -> None:
    found = verdict_on(copied_tree, f"{room}/broken.py", "\n".join(f"import {vendor}" for vendor in VENDORS))

    package = room.split("/", 1)[0]
    for vendor in VENDORS:
        assert f"{package} is not allowed to import {vendor}:" in found, vendor
