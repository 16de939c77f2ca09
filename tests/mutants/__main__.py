"""`make mutants [ONLY=name]`: put one bug after the other into a copy of the tree, and see that its check finds it.

A patch begins with lines `what:` and `caught by:`; the latter is `simulate N` or test files. One that no longer applies
is a failure: whoever changed the code it is about mends it. Every check is first run without a bug, and must find none.
Exit code 1 when a bug is not found.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PATCHES = Path(__file__).parent / "patches"
CHECK_TIMEOUT_S = 400
OUTPUT_CHARS_MAX = 1_500


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One bug. `check` is how it is to be found."""

    name: str
    what: str
    check: str
    patch: Path

    @classmethod
    def read(cls, patch: Path) -> "Mutant":
        """A patch with its head."""
        head = dict(line.split(": ", 1) for line in patch.read_text().split("\n---", 1)[0].splitlines() if ": " in line)
        return cls(name=patch.stem, what=head["what"], check=head["caught by"], patch=patch)


def command_of(check: str) -> list[str]:
    """What runs a check in a tree."""
    kind, _, rest = check.partition(" ")
    if kind == "simulate":
        options = ["--seeds", rest, "--fail-fast", "--shrink", "0", "--json"]
        return [sys.executable, "-m", "control_plane.cli.main", "simulate", *options]
    return [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *check.split()]


@dataclass(frozen=True, kw_only=True)
class Found:
    """What came of one mutant."""

    mutant: Mutant
    verdict: str
    took_s: float
    said: str = ""

    @property
    def caught(self) -> bool:
        """Whether its check found it."""
        return self.verdict == "caught"


def main() -> int:
    """Exit code 0 only if each bug was found."""
    asked = _asked()
    mutants = [found for found in mutants_in(PATCHES) if asked.only in ("", found.name)]
    if not mutants:
        sys.stderr.write(f"there is no mutant {asked.only!r}\n")
        return 2
    missed = 0
    with tempfile.TemporaryDirectory(prefix="setpoint-mutants-") as place:
        for check in sorted({mutant.check for mutant in mutants}):
            code, said = ran(check, copied(Path(place) / "sound"))
            if code:
                print(f"the check fails without any bug: {check}\n{said}")
                return 1
        for mutant in mutants:
            found = tried(mutant, Path(place) / mutant.name)
            missed += not found.caught
            print(f"{found.verdict:<14} {mutant.name:<34} {found.took_s:6.1f} s  {mutant.check}", flush=True)
            if not found.caught:
                print(f"    {mutant.what}\n{found.said}", flush=True)
    print(f"{len(mutants) - missed} of {len(mutants)} bugs were found")
    return 1 if missed else 0


def mutants_in(folder: Path) -> Sequence[Mutant]:
    """All of them, by name."""
    return [Mutant.read(patch) for patch in sorted(folder.glob("*.diff"))]


def tried(mutant: Mutant, tree: Path) -> Found:
    """Put it into a copy of the tree, and run its check there."""
    began_s = time.monotonic()
    call = ["git", "apply", "--whitespace=nowarn", str(mutant.patch)]
    applied = subprocess.run(call, cwd=copied(tree), capture_output=True, text=True, check=False)
    if applied.returncode:
        return Found(mutant=mutant, verdict="DOES NOT APPLY", took_s=0.0, said=applied.stderr)
    code, said = ran(mutant.check, tree)
    verdict = {0: "NOT FOUND", 1: "caught"}.get(code, "BROKEN")
    return Found(mutant=mutant, verdict=verdict, took_s=time.monotonic() - began_s, said=said)


def copied(tree: Path) -> Path:
    """A copy of all that git knows and of what it would know: caches and logs are not copied."""
    for name in _files():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, tree / name)
    return tree


def ran(check: str, tree: Path) -> tuple[int, str]:
    """How a check ended in a tree, which is gone after it: 0 found nothing, 1 something."""
    try:
        ended = subprocess.run(
            command_of(check),
            cwd=tree,
            env={**os.environ, "PYTHONPATH": str(tree)},
            capture_output=True,
            text=True,
            timeout=CHECK_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return -1, f"it had not ended after {CHECK_TIMEOUT_S} s"
    finally:
        shutil.rmtree(tree)
    return ended.returncode, (ended.stdout + ended.stderr)[-OUTPUT_CHARS_MAX:]


def _files() -> Iterator[str]:
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return (name for name in listed.stdout.splitlines() if (ROOT / name).is_file())


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description="See that the tests bite.")
    parser.add_argument("--only", default="", help="the name of one mutant")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
