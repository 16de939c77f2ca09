"""The program `opa`, where one is at hand: its strict check finds what no check in this process does.

Types of arguments, variables that are never used, fields of the input that its schema does not have.
"""

import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from importlib.resources import as_file, files
from pathlib import Path
from typing import Final

import msgspec

from control_plane.errors import Flaw

CHECK_TIMEOUT_S: Final = 30.0
_CURE: Final = "Correct it: `opa check --strict` refuses it."


class _Location(msgspec.Struct):
    file: str = ""
    row: int = 0
    col: int = 0


class _Error(msgspec.Struct):
    message: str
    location: _Location = msgspec.field(default_factory=_Location)


class _Checked(msgspec.Struct):
    errors: list[_Error] = []


def opa_at_hand() -> Path | None:
    """The program on the PATH."""
    found = shutil.which("opa")
    return Path(found) if found else None


def version_of(program: Path) -> str:
    """As it says itself; empty where it does not."""
    said = subprocess.run([program, "version"], capture_output=True, text=True, timeout=CHECK_TIMEOUT_S, check=False)
    return next((line.partition(":")[2].strip() for line in said.stdout.splitlines() if line.startswith("Version")), "")


def strict_flaws(program: Path, modules: Mapping[str, str]) -> Sequence[Flaw]:
    """What the strict check says against modules, given by the file that they stand in, as people are told."""
    with tempfile.TemporaryDirectory(prefix="setpoint-") as folder, as_file(files("policies")) as policies:
        names = {}
        for n, (name, text) in enumerate(sorted(modules.items())):
            path = Path(folder) / f"{n:03}.rego"
            path.write_text(text, encoding="utf-8")
            names[str(path)] = name
        schema = str(policies / "input.schema.json")
        call = [str(program), "check", "--strict", "--format", "json", "--schema", schema, *names]
        done = subprocess.run(call, capture_output=True, timeout=CHECK_TIMEOUT_S, check=False)
    if done.returncode == 0:
        return ()
    try:
        errors = msgspec.json.decode(done.stdout or done.stderr, type=_Checked).errors
    except msgspec.MsgspecError:
        said = done.stderr.decode(errors="replace").strip()[:300]
        return [Flaw(file="policies", line=0, column=0, problem=f"opa check could not judge: {said}", cure=_CURE)]
    return [
        Flaw(
            file=names.get(error.location.file, error.location.file or "policies"),
            line=error.location.row,
            column=error.location.col,
            problem=error.message,
            cure=_CURE,
        )
        for error in errors
    ]
