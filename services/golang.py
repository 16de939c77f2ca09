"""Programs in Go, built from pinned modules: `services/NAME/go.mod` and `go.sum` into `.services/NAME/NAME`.

Built once, and again when the pins change. Go fetches the very version of itself that a module asks for, so any Go will
do, Debian 12's 1.19 included.
"""

import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import IO

from machine import CACHE, NotDone, only_one

HERE = Path(__file__).resolve().parent
GO_MIN = (1, 21)
GO_NEWER = "go1.26.8"
GO_FOLDER = "/usr/local/go/bin"
"""Where Go's own installer puts it, on PATH or not."""
PROGRESS_S = 5.0
CURE = "Install Go (on Debian: apt-get install golang-go; its version does not matter)."


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
    """A Go that can build what asks for a newer one than is installed: from 1.21 on Go fetches that by itself."""
    go = shutil.which("go") or shutil.which("go", path=GO_FOLDER)
    if go is None:
        raise NotDone(f"{name} is not built yet, and there is no go to build it. Nothing was started. {CURE}")
    said = _called([go, "version"], name)
    found = re.search(r"go(\d+)\.(\d+)", said)
    if found is None:
        raise NotDone(f"{go} says {said.strip()!r}, which is no version of Go. Nothing was started. {CURE}")
    return go if (int(found[1]), int(found[2])) >= GO_MIN else _newer(go, name)


def _newer(go: str, name: str) -> str:
    """A newer Go, fetched by an older one as the module that it also is. Only Go from 1.21 on makes it runnable."""
    _tell(f"fetching {GO_NEWER}: {go} is older than Go {GO_MIN[0]}.{GO_MIN[1]}")
    system = "-".join(_called([go, "env", "GOOS", "GOARCH"], name).split())
    call = [go, "mod", "download", "-json", f"golang.org/toolchain@v0.0.1-{GO_NEWER}.{system}"]
    folder = Path(json.loads(_called(call, name))["Dir"])
    for program in (*(folder / "bin").iterdir(), *(folder / "pkg" / "tool").glob("*/*")):
        program.chmod(program.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    return str(folder / "bin" / "go")


def _build(go: str, name: str, package: str, target: Path) -> None:
    _tell(f"building {name} with Go, once: its modules are fetched")
    pins = HERE / name
    packages = len(_called([go, "list", "-deps", package], name, pins).splitlines())
    call = [go, "build", "-v", "-buildvcs=false", "-trimpath", "-ldflags", "-s -w", "-o", str(target), package]
    _called(call, name, pins, packages)


def _called(call: list[str], name: str, folder: Path | None = None, packages: int = 0) -> str:
    """What Go says; while it builds, how far it is."""
    # Outside of a module's folder nothing may hang on the folder that we happen to be called in.
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly" if folder else "", "GOWORK": "off"}
    with subprocess.Popen(
        call,
        cwd=folder or tempfile.gettempdir(),
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as going:
        assert going.stdout is not None
        assert going.stderr is not None
        said: list[str] = []
        hearing = threading.Thread(target=_hear, args=(going.stderr, said, name, packages))
        hearing.start()
        answer = going.stdout.read()
        hearing.join()
    if going.returncode != 0:
        last_lines = "".join(said[-5:]).strip()
        raise NotDone(
            f"{name} could not be built: {' '.join(call[1:3])} failed. Nothing was started. "
            f"Is the network there? Go says:\n{last_lines}"
        )
    return answer


def _hear(stream: IO[str], said: list[str], name: str, packages: int) -> None:
    """Keep what Go says, and every few seconds tell how far it is: it names each package that it has compiled."""
    begun = told = time.monotonic()
    for line in stream:
        said.append(line)
        now = time.monotonic()
        if packages and now - told > PROGRESS_S:
            _tell(f"building {name}: {len(said)} of at most {packages} packages compiled, {now - begun:.0f} s")
            told = now


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
