"""ansible-rulebook in an environment of its own, under `.cache`: nothing here depends on what is measured against.

Made when it is first asked for, from `requirements/bench-rulebook.txt`, and again when that changes.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "requirements" / "bench-rulebook.txt"
VENV = ROOT / ".cache" / "ansible-rulebook"
STAMP = VENV / "lock.sha256"
JAVA_MIN = 17
INSTALL_TIMEOUT_S = 600


class Missing(Exception):
    """Something that ansible-rulebook needs is not on this machine, and so it was not measured."""


def rulebook_command() -> Path:
    """The `ansible-rulebook` command, installed if it was not. Raises Missing."""
    _check_java()
    wanted = hashlib.sha256(LOCK.read_bytes() + sys.version.encode()).hexdigest()
    if not STAMP.exists() or STAMP.read_text() != wanted:
        _install()
        STAMP.write_text(wanted)
    return VENV / "bin" / "ansible-rulebook"


def _check_java() -> None:
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home, "bin", "java")) if home else shutil.which("java")
    if java is None or not Path(java).exists():
        raise Missing(f"no Java by JAVA_HOME or PATH: install Java {JAVA_MIN} (on Debian: openjdk-17-jre-headless)")
    said = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=60).stderr
    version = re.search(r'version "(\d+)', said)
    if version is None or int(version[1]) < JAVA_MIN:
        raise Missing(f"{java} is not Java {JAVA_MIN} or newer: install it, or name it in JAVA_HOME")


def _install() -> None:
    print(f"  installing ansible-rulebook into {VENV.relative_to(ROOT)}", file=sys.stderr, flush=True)
    python = VENV / "bin" / "python"
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]
    for command in ([sys.executable, "-m", "venv", "--clear", str(VENV)], [*pip, "-r", str(LOCK)]):
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise Missing(f"{' '.join(command)} was not done within {INSTALL_TIMEOUT_S} s: try again") from None
        if done.returncode != 0:
            raise Missing(f"{' '.join(command)} failed: {done.stderr.strip()[-500:]}")
