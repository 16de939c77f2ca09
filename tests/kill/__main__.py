"""`make kills N=200 WORKSPACE=orders`: kill the real service, and say what a checker found in the world and on the log.

Progress goes to stderr, the result to stdout: one line, or with --json one object. Exit code 1 on a violation.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from control_plane.errors import SetpointError
from tests.kill.cluster import ClusterOrdeal
from tests.kill.history import Findings
from tests.kill.incident import Incident
from tests.kill.orders import Orders
from tests.kill.outside import leave_kafka_as_it_was
from tests.kill.parcels import Parcels
from tests.kill.run import Ordeal
from tests.kill.scene import Scene

KILLS_PER_LOG = 20
SCENES: dict[str, Callable[[], Scene]] = {"parcels": Parcels, "orders": Orders, "incident": Incident}
REAL_PARTS = "kafka"
"""A broker of our own, with PostgreSQL and OPA, one process per role, and harm to all of them."""
BACKBONES = {"": ["embedded", "embedded-not-atomic"], "both": ["embedded", "embedded-not-atomic"]}


@dataclass
class Tally:
    """All logs of a run so far."""

    wanted: int
    first_seed: int
    kills: Counter[str] = field(default_factory=Counter)
    findings: Findings = field(default_factory=Findings)
    logs: int = 0
    began_s: float = field(default_factory=time.monotonic)

    def show(self, done: int, text: str) -> None:
        """Where the run is."""
        line = f"{done} of {self.wanted} kills, {len(self.findings.violations)} violations so far ({text})"
        start, end = ("\r\x1b[K", "") if sys.stderr.isatty() else ("", "\n")
        print(f"{start}{line}", end=end, file=sys.stderr, flush=True)

    def result(self) -> dict[str, Any]:
        """What the run came to."""
        return {
            "kills": self.kills.total(),
            "logs": self.logs,
            "seeds": [self.first_seed, self.first_seed + self.logs - 1],
            "violations": self.findings.violations,
            "duration_s": round(time.monotonic() - self.began_s),
            "killed_at": dict(sorted(self.kills.items())),
            "found": dict(sorted(self.findings.counts.items())),
            "acted_again_after_s": dict(sorted(self.findings.slowest_s.items())),
        }


def main() -> int:
    """Exit code 0 only without a single violation."""
    asked = _asked()
    backbones = BACKBONES.get(asked.backbone, [asked.backbone])
    tally = Tally(wanted=asked.kills, first_seed=asked.seed)
    for done in range(0, asked.kills, KILLS_PER_LOG):
        backbone = backbones[tally.logs % len(backbones)]
        _one_log(asked.workspace, backbone, min(KILLS_PER_LOG, asked.kills - done), tally)
    result = tally.result()
    print(end="\n" if sys.stderr.isatty() else "", file=sys.stderr)
    print(json.dumps(result) if asked.json else _in_words(result))
    return 1 if tally.findings.violations else 0


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.kill", description="Kill the real service under load.")
    parser.add_argument("--kills", type=int, default=20, help="how many in all (%(default)s)")
    parser.add_argument("--workspace", choices=sorted(SCENES), default="parcels", help="what runs (%(default)s)")
    parser.add_argument(
        "--backbone",
        default="both",
        help="embedded, embedded-not-atomic, both, kafka://host:port, or kafka: a broker, a PostgreSQL and an OPA of "
        "our own and a process per role, all of which are harmed (%(default)s)",
    )
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the first log; each has the next one")
    parser.add_argument("--json", action="store_true", help="the result as one object on stdout")
    return parser.parse_args()


def _one_log(workspace: str, backbone: str, kills: int, tally: Tally) -> None:
    """One ordeal. A log with a violation is kept, with the service's own log beside it."""
    root = Path(tempfile.mkdtemp(prefix="setpoint-kills-"))
    seed, before = tally.first_seed + tally.logs, tally.kills.total()
    ordeal = (
        ClusterOrdeal(root, seed)
        if backbone == REAL_PARTS
        else Ordeal(root, backbone_url(backbone, root), seed, scene=SCENES[workspace]())
    )
    where = f"{workspace}, seed {seed} on {backbone}"

    def killed(acknowledged: int) -> None:
        tally.show(before + ordeal.kills.total(), f"{where}, {acknowledged} events acknowledged")

    try:
        findings = ordeal.run(kills, killed)
    except (AssertionError, SetpointError, subprocess.SubprocessError) as broken:
        # The service did not do its part: that is a finding of this log, and the other logs still have theirs.
        findings = Findings(violations=[f"ordeal: {type(broken).__name__}: {broken}"])
    tally.logs += 1
    tally.kills += ordeal.kills
    tally.findings.add(findings)
    for violation in findings.violations:
        print(f"VIOLATION {where}: {violation}", file=sys.stderr)
    if findings.violations:
        again = f"--workspace {workspace} --seed {seed} --backbone {backbone} --kills {kills}"
        print(f"kept in {root}; repeat with {again}", file=sys.stderr)
    else:
        shutil.rmtree(root)
        if isinstance(ordeal, Ordeal) and backbone.startswith("kafka://"):
            leave_kafka_as_it_was(ordeal.backbone)
    tally.show(tally.kills.total(), f"{where}: judged")


def _in_words(result: dict[str, Any]) -> str:
    found = Counter(result["found"])
    first, last = result["seeds"]
    return (
        f"{result['kills']} kills on {result['logs']} logs (seeds {first} to {last}) in {result['duration_s']} s: "
        f"{len(result['violations'])} violations; {found['acknowledged']} events acknowledged, {found['decisions']} "
        f"decisions, {found['effects in the world']} effects in the world of {found['commands']} commands, "
        f"{found['copies']} copies; {found['replays equal']} replays equal, {found['tamperings found']} of "
        f"{found['tamperings']} tamperings found" + _slowest(result["acted_again_after_s"])
    )


def _slowest(seconds: dict[str, float]) -> str:
    if not seconds:
        return ""
    name = max(seconds, key=seconds.__getitem__)
    return f"; after an outage it acted again within {seconds[name]:g} s ({name})"


def backbone_url(name: str, root: Path) -> str:
    """The URL behind a name; the embedded logs live in the workspace's data."""
    place = root / "workspace" / "data" / "log"
    named = {"embedded": f"embedded://{place}", "embedded-not-atomic": f"embedded://{place}?atomic=false"}
    # Each log has topics of its own: the checker reads them whole.
    return named.get(name, f"{name}?prefix=kills-{time.time_ns()}.")


if __name__ == "__main__":
    sys.exit(main())
