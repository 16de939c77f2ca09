"""A real Prometheus and Alertmanager on this machine, for tests: Debian's packages, unpacked, not installed.

    python3 services/prometheus.py fetch

prints the folder that holds `prometheus`, `promtool`, `prometheus-alertmanager` and `amtool`: where they are installed
already, or `.services/prometheus`, into which they are unpacked once. Needs only the standard library, and apt.

Debian's Alertmanager reads its templates from an absolute path under /usr/share. Unpacked, it finds them there in a
mount namespace of its own: nothing is written outside of our folder.
"""

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from machine import CACHE, NotDone, only_one

FOLDER = CACHE / "prometheus"
PACKAGES = ("prometheus", "prometheus-alertmanager")
PROGRAMS = ("prometheus", "promtool", "prometheus-alertmanager", "amtool")
FETCH_TIMEOUT_S = 300
CURE = "Install them (on Debian: apt-get install prometheus prometheus-alertmanager)."


NAMESPACES = (["--user", "--map-root-user", "--mount"], ["--mount"])
"""Options of unshare: what an ordinary user may do, and what only root may."""
WRAPPER = """#!/bin/sh
here=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
exec unshare @OPTIONS@ sh -c '
  mount --bind "$0/share" /usr/share && exec "$0/lib/prometheus-alertmanager" "$@"
' "$here" "$@"
"""


def main() -> None:
    """Do one command; say in one line what came of it."""
    parser = argparse.ArgumentParser(prog="prometheus.py", description="A real Prometheus and Alertmanager for tests.")
    parser.add_argument("command", choices=["fetch"])
    parser.parse_args()
    try:
        print(programs())
    except NotDone as problem:
        sys.exit(f"prometheus: {problem}")


def programs() -> Path:
    """The folder with the programs; they are fetched when they are nowhere. Raises NotDone."""
    installed = shutil.which(PROGRAMS[0])
    for folder in (Path(installed).parent if installed else None, FOLDER / "bin"):
        if folder is not None and _are_in(folder):
            return folder
    with only_one(FOLDER):
        if not _are_in(FOLDER / "bin"):
            _fetch(FOLDER)
    return FOLDER / "bin"


def _are_in(folder: Path) -> bool:
    return all(os.access(folder / name, os.X_OK) for name in PROGRAMS)


def _fetch(cache: Path) -> None:
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise NotDone(f"Prometheus is not here, and there is no {tool} to fetch it. Nothing was done. {CURE}")
    with tempfile.TemporaryDirectory(prefix="fetch-", dir=cache) as folder:
        _download(Path(folder))
        unpacked = Path(folder) / "unpacked"
        for package in Path(folder).glob("*.deb"):
            _called("dpkg-deb", "--extract", str(package), str(unpacked), cwd=Path(folder))
        lib = unpacked / "usr" / "lib"
        lib.mkdir(exist_ok=True)
        alertmanager = unpacked / "usr" / "bin" / "prometheus-alertmanager"
        alertmanager.rename(lib / alertmanager.name)
        alertmanager.write_text(WRAPPER.replace("@OPTIONS@", " ".join(_namespace())))
        alertmanager.chmod(0o755)
        for name in ("share", "lib", "bin"):  # What says that all is there comes last.
            shutil.rmtree(cache / name, ignore_errors=True)
            (unpacked / "usr" / name).rename(cache / name)


def _namespace() -> list[str]:
    """How this user may have a mount namespace."""
    for options in NAMESPACES:
        with contextlib.suppress(OSError):
            if subprocess.run(["unshare", *options, "true"], capture_output=True).returncode == 0:
                return options
    raise NotDone(f"this user may have no mount namespace, which an unpacked Alertmanager needs. {CURE}")


def _download(folder: Path) -> None:
    """The packages. Where the lists of packages are not there yet, root has them fetched first."""
    print("fetching Prometheus and Alertmanager with apt, once (30 MB)", file=sys.stderr, flush=True)
    try:
        _called("apt-get", "download", "-qq", *PACKAGES, cwd=folder)
    except NotDone:
        if os.geteuid() != 0:
            raise
        _called("apt-get", "update", "-qq", cwd=folder)
        _called("apt-get", "download", "-qq", *PACKAGES, cwd=folder)


def _called(*call: str, cwd: Path) -> None:
    try:
        done = subprocess.run(
            call, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=FETCH_TIMEOUT_S
        )
    except subprocess.TimeoutExpired as exc:
        raise NotDone(f"{call[0]} did not end within {FETCH_TIMEOUT_S} s. Nothing was unpacked. {CURE}") from exc
    if done.returncode != 0:
        last_lines = "\n".join((done.stdout + done.stderr).strip().splitlines()[-3:])
        raise NotDone(f"{' '.join(call[:2])} failed. Nothing was unpacked. {CURE} It says:\n{last_lines}")


if __name__ == "__main__":
    main()
