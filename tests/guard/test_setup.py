"""`make setup` on a machine that lacks something says what it lacks, and makes nothing half."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.guard.tree import ROOT


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A tree that was never set up."""
    (tmp_path / "requirements").mkdir()
    for name in ("requirements/install.py", "requirements/dev.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def set_up(tree: Path, *, after: str) -> subprocess.CompletedProcess[str]:
    """Run the installer in a Python that `after` has changed first."""
    program = f"import runpy, sys; {after}; runpy.run_path('requirements/install.py', run_name='__main__')"
    call = [sys.executable, "-c", program]
    return subprocess.run(call, cwd=tree, capture_output=True, text=True, timeout=60, check=False)


def test_a_python_that_is_too_old_is_told_so(bare: Path) -> None:
    done = set_up(bare, after="sys.version_info = (3, 9, 2, 'final', 0)")

    assert done.returncode == 1
    assert "Python 3.9" in done.stderr
    assert "needs 3.11 or newer" in done.stderr
    assert "make setup PYTHON=" in done.stderr
    assert not (bare / ".venv").exists()


def test_a_python_without_venv_is_told_which_package_brings_it(bare: Path) -> None:
    done = set_up(bare, after="sys.modules['ensurepip'] = None")

    assert done.returncode == 1
    assert "has no venv module" in done.stderr
    assert "apt-get install python3-venv" in done.stderr
    assert not (bare / ".venv").exists()


def test_what_is_installed_already_is_left_alone(bare: Path) -> None:
    (bare / ".venv" / "bin").mkdir(parents=True)
    (bare / ".venv" / "bin" / "python").symlink_to(sys.executable)
    stamping = "import hashlib; from pathlib import Path; Path('.venv/setup.sha256').write_text(hashlib.sha256("
    stamping += "Path('requirements/dev.txt').read_bytes() + Path('pyproject.toml').read_bytes()).hexdigest())"

    done = set_up(bare, after=stamping)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_what_a_start_loads_is_compiled_even_where_python_writes_no_byte_code(bare: Path) -> None:
    (bare / ".venv" / "bin").mkdir(parents=True)
    (bare / ".venv" / "bin" / "python").symlink_to(sys.executable)
    package = bare / ".venv" / "lib" / "python3" / "site-packages" / "package"
    ours = bare / "control_plane"
    for folder in (package, ours):
        folder.mkdir(parents=True)
        (folder / "broken.py").write_text("print 'for another Python'")
        (folder / "module.py").write_text("x = 1")

    program = "import runpy; runpy.run_path('requirements/install.py')['_compile']()"
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPYCACHEPREFIX": ""}
    done = subprocess.run([sys.executable, "-c", program], cwd=bare, env=environment, capture_output=True, check=False)

    assert (done.returncode, done.stderr) == (0, b"")
    assert [len(list((folder / "__pycache__").glob("module.*.pyc"))) for folder in (package, ours)] == [1, 1]
