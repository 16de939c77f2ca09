"""Pages that show a workspace file by file: it passes the check of the real service, and its own tests pass."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from control_plane.bootstrap.workshop import load_workspace
from tests.examples.page import files_of

ROOT = Path(__file__).resolve().parent.parent.parent
TESTED = ("python-agents.md", "testing.md", "llm-agents.md")
"""Pages that show tests in Python as well."""
PAGES = (*TESTED, "intents.md", "policies.md", "executors.md")


@pytest.fixture
def workspace(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A page as a folder."""
    for path, text in {"setpoint.yaml": "apiVersion: setpoint/v1\n", **files_of(request.param)}.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    return tmp_path


@pytest.mark.parametrize("workspace", PAGES, indirect=True)
def test_what_the_page_shows_passes_the_check(workspace: Path) -> None:
    assert load_workspace(workspace).warnings == ()


@pytest.mark.parametrize("workspace", TESTED, indirect=True)
def test_the_tests_that_the_page_shows_pass(workspace: Path) -> None:
    shown = "".join(file.read_text() for file in workspace.glob("tests/*.py"))
    tests = len(re.findall(r"^def test_", shown, re.MULTILINE))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", ".", "tests"]

    ran = subprocess.run(
        command, cwd=workspace, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60, check=False
    )

    assert f"{tests} passed" in ran.stdout, ran.stdout + ran.stderr
    assert ran.returncode == 0
