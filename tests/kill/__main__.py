"""`make kills N=200`: kill the real service, and print what a checker found in the world and on the log."""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.kill.run import Ordeal

KILLS_PER_LOG = 20


def main() -> int:
    """Exit code 0 only without a single violation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--backbone", default="both", help="embedded, embedded-not-atomic, both, or kafka://host:port")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    asked = parser.parse_args()
    backbones = ["embedded", "embedded-not-atomic"] if asked.backbone in ("", "both") else [asked.backbone]
    violations = 0
    done, log = 0, 0
    while done < asked.kills:
        kills = min(KILLS_PER_LOG, asked.kills - done)
        violations += _one_log(backbones[log % len(backbones)], asked.seed + log, kills)
        done, log = done + kills, log + 1
    print(f"{done} kills on {log} logs, {violations} violations")
    return 1 if violations else 0


def _one_log(backbone: str, seed: int, kills: int) -> int:
    with tempfile.TemporaryDirectory(prefix="setpoint-kills-") as folder:
        root = Path(folder)
        ordeal = Ordeal(root, backbone_url(backbone, root), seed)
        findings = ordeal.run(kills, lambda text: print(f"\r  seed {seed} on {backbone}: {text}", end="", flush=True))
        print()
        replayed = subprocess.run(
            [sys.executable, "-m", "control_plane.cli.main", "replay", "--backbone", ordeal.backbone],
            capture_output=True,
            text=True,
        )
        findings.wrong("I7", "replays that differ", [replayed.stdout + replayed.stderr] if replayed.returncode else [])
        print(f"  kills {dict(ordeal.kills)}")
        print(f"  found {dict(findings.counts)}")
        for violation in findings.violations:
            print(f"  VIOLATION {violation}")
        if findings.violations:
            print(f"  repeat with --seed {seed} --backbone {backbone} --kills {kills}")
        return len(findings.violations)


def backbone_url(name: str, root: Path) -> str:
    """The URL behind a name; the embedded logs live in the workspace's data."""
    place = root / "workspace" / "data" / "log"
    named = {"embedded": f"embedded://{place}", "embedded-not-atomic": f"embedded://{place}?atomic=false"}
    # Each log has topics of its own: the checker reads them whole.
    return named.get(name, f"{name}?prefix=kills-{time.time_ns()}.")


if __name__ == "__main__":
    sys.exit(main())
