"""Programs in Go, built from pinned modules: `services/NAME/go.mod` and `go.sum` into `.services/NAME/NAME`.

Built once, and again when the pins change. Go fetches the very version of itself that a module asks for, so any Go
from 1.21 on will do.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from machine import CACHE, NotDone, only_one

HERE = Path(__file__).resolve().parent
GO_MIN = (1, 21)
PROGRESS_S = 5.0
CURE = (
    "Install Go 1.21 or newer (https://go.dev/doc/install; on Debian 13 or newer: apt-get install golang-go; on Debian "
    "12: the same from bookworm-backports)."
)


def built(name: str, package: str) -> Path:
    """The program of a pinned module, unless the environment names another one. Raises NotDone."""
    if named := os.environ.get(f"{name.upper()}_FOR_TESTS"):
        return Path(named)
    folder = CACHE / name
    program, stamp = folder / name, folder / "pins.sha256"
    pins = HERE / name
    pinned = hashlib.sha256((pins / "go.mod").read_bytes() + (pins / "go.sum").read_bytes()).hexdigest()
    with only_one(folder):
        if not (program.exists() and stamp.exists() and stamp.read_text() == pinned):
            fresh = folder / f"{name}.part"
            _build(_go(name), name, package, fresh)
            fresh.rename(program)
            stamp.write_text(pinned)
    return program


def _go(name: str) -> str:
    go = shutil.which("go")
    if go is None:
        raise NotDone(f"{name} is not built yet, and there is no go to build it. Nothing was started. {CURE}")
    said = subprocess.run([go, "version"], cwd=tempfile.gettempdir(), capture_output=True, text=True).stdout
    found = re.search(r"go(\d+)\.(\d+)", said)
    if found is None or (int(found[1]), int(found[2])) < GO_MIN:
        raise NotDone(f"{go} is too old to build {name} ({said.strip()}). Nothing was started. {CURE}")
    return go


def _build(go: str, name: str, package: str, target: Path) -> None:
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly", "GOWORK": "off"}
    print(f"building {name} with Go, once: its modules are fetched", file=sys.stderr, flush=True)
    listed = _called([go, "list", "-deps", package], name, environment)
    call = [go, "build", "-v", "-buildvcs=false", "-trimpath", "-ldflags", "-s -w", "-o", str(target), package]
    _called(call, name, environment, packages=len(listed.splitlines()))


def _called(call: list[str], name: str, environment: dict[str, str], packages: int = 0) -> str:
    """What Go says; meanwhile, for a long build, how far it is."""
    begun = time.monotonic()
    with subprocess.Popen(
        call,
        cwd=HERE / name,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as going:
        assert going.stdout is not None
        assert going.stderr is not None
        said: list[str] = []
        hearing = threading.Thread(target=said.extend, args=(going.stderr,))
        hearing.start()
        ticking = threading.Event()
        telling = threading.Thread(target=_tell, args=(name, said, packages, begun, ticking))
        telling.start()
        answer = going.stdout.read()
        hearing.join()
        ticking.set()
        telling.join()
    if going.returncode != 0:
        last_lines = "".join(said[-5:]).strip()
        raise NotDone(f"Go could not build {name}. Nothing was started. Is the network there? Go says:\n{last_lines}")
    return answer


def _tell(name: str, said: list[str], packages: int, begun: float, over: threading.Event) -> None:
    """Every few seconds, how many packages are compiled."""
    while not over.wait(PROGRESS_S):
        so_far = f"{len(said)} of at most {packages} packages compiled" if packages else "modules are being fetched"
        print(f"building {name}: {so_far}, {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
