"""Make `.venv` hold exactly what the lock says; `make setup` calls it.

Runs under whatever Python 3 the machine has: only the standard library, and nothing that an old one cannot read, so
that it gets as far as the sentence that says which Python is needed.
"""

import hashlib
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements" / "dev.txt"
PROJECT = ROOT / "pyproject.toml"
VENV = ROOT / ".venv"
VENV_PYTHON = VENV / "bin" / "python"
STAMP = VENV / "setup.sha256"
OURS = ("control_plane", "agents", "state")
PYTHON_MIN = (3, 11)


def main() -> None:
    """Install, unless the stamp says that this very lock is installed."""
    wanted = hashlib.sha256(LOCK.read_bytes() + PROJECT.read_bytes()).hexdigest()
    if _stamped() == wanted and _runs():
        return
    if not _runs():
        _make_venv()
    _pip("the packages of the lock", "--require-hashes", "-r", str(LOCK))
    # The entry points and packages of pyproject.toml; what it needs to be built is in the lock.
    _pip("setpoint itself", "--no-deps", "--no-build-isolation", "-e", str(ROOT))
    _compile()
    STAMP.write_text(wanted)
    _say("ready: .venv holds what requirements/dev.txt says")


def _stamped() -> str:
    """What was installed last; empty when nobody knows."""
    return STAMP.read_text() if STAMP.exists() else ""


def _runs() -> bool:
    """Whether the environment's Python is there, still starts, is new enough and has pip."""
    check = f"import sys, pip; sys.exit(sys.version_info < {PYTHON_MIN})"
    try:
        return subprocess.call([str(VENV_PYTHON), "-c", check], stderr=subprocess.DEVNULL) == 0
    except OSError:
        return False


def _make_venv() -> None:
    """A fresh environment; one that was there and does not run is replaced."""
    running = f"Python {sys.version_info[0]}.{sys.version_info[1]}"
    if sys.version_info < PYTHON_MIN:
        _stop(
            f"{running} ({sys.executable}) is too old: Setpoint needs 3.11 or newer",
            "Install a newer one and name it, as in: make setup PYTHON=python3.12",
        )
    try:
        import ensurepip  # noqa: F401 - Debian's python3 comes without it, and venv would fail half way
        import venv
    except ImportError:
        _stop(
            f"{running} ({sys.executable}) has no venv module",
            "Install it (on Debian: apt-get install python3-venv), then run make setup again.",
        )
    _say(f"making .venv with {running}")
    venv.create(str(VENV), with_pip=True, clear=True, symlinks=True)


def _pip(what: str, *arguments: str) -> None:
    """Install, quietly: pip speaks only if something is wrong."""
    _say(f"installing {what}")
    call = [str(VENV_PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments]
    if subprocess.call(call, cwd=str(ROOT)) != 0:
        _stop(f"{what} could not be installed; pip says why above", "When that is mended, run make setup again.")


def _compile() -> None:
    """Compile what a start loads. Otherwise the first start does, for seconds, and every one of them where
    PYTHONDONTWRITEBYTECODE is set or pip is told not to compile."""
    _say("compiling")
    folders = [str(VENV / "lib"), *(str(ROOT / name) for name in OURS)]
    # Its exit code says nothing here: some packages bring files that are not meant for this Python.
    subprocess.call([str(VENV_PYTHON), "-m", "compileall", "-qq", "-j", "0", *folders], cwd=str(ROOT))


def _say(what: str) -> None:
    print(f"setup: {what}", flush=True)


def _stop(problem: str, cure: str) -> None:
    sys.exit(f"setup: {problem}. Setup is not done. {cure}")


if __name__ == "__main__":
    main()
