"""`python -m tests.workers.rebalances --n 30`: workers of the loop come and go under load, and a checker that takes
nobody's word judges the log and the world (R35: I1, I2, I8). One process per role, on a real Kafka.

Each round one worker joins, leaves, or is killed and comes back under its name; the loop is never without one.
"""

import argparse
import json
import random
import sys
import tempfile
import time
import uuid
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from control_plane.adapters.faust import open_log_reader
from tests.kill.checker import check
from tests.kill.history import Findings
from tests.kill.outside import check_outside, leave_kafka_as_it_was
from tests.kill.parcels import Parcels
from tests.kill.scene import Load
from tests.kill.workload import KEY
from tests.workers.processes import Crew, Worker, until_ready

EVENTS_BETWEEN = 120
LOOPS_MIN, LOOPS_MAX = 1, 3
SETTLED_WITHIN_S = 120.0
PARTITIONS = 4


@dataclass
class Rebalances:
    """One log, one crew, many comings and goings."""

    root: Path
    backbone: str
    seed: int
    happened: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._scene = Parcels()
        environ = {"SETPOINT_PARTITIONS": str(PARTITIONS)}
        self._crew = Crew(self.root / "workspace", self.backbone, self.root / "home", environ, key=KEY)

    def run(self, rounds: int) -> Findings:
        """Let them come and go so many times, let the rest finish, and judge."""
        crew = self._crew
        self.root.mkdir(parents=True, exist_ok=True)
        with self._scene.playing(self.root, crew.workspace, crew.url, self.seed) as load:
            try:
                crew.start_all(["api", "executors", "recorder", "agents"])
                loops = [crew.start("loop")]
                loops[0].until_started()
                with crew.client() as client:
                    until_ready(client)
                for _ in range(rounds):
                    load.until_acknowledged(EVENTS_BETWEEN)
                    self._change(loops)
                load.until_acknowledged(EVENTS_BETWEEN)
                load.stop()
                findings = self._settled(load)
                codes = {worker.name: worker.stop() for worker in crew.workers}
                findings.wrong("stop", "workers that did not stop cleanly", [c for c in codes.items() if c[1]])
                return findings
            finally:
                crew.end()

    def _change(self, loops: list[Worker]) -> None:
        able = ["kill"] + (["join"] if len(loops) < LOOPS_MAX else []) + (["leave"] if len(loops) > LOOPS_MIN else [])
        how = self._random.choice(able)
        self.happened[how] += 1
        if how == "join":
            loops.append(self._crew.start("loop"))
            loops[-1].until_started()
            return
        gone = loops.pop(self._random.randrange(len(loops)))
        if how == "leave":
            assert gone.stop() == 0, f"{gone.name} did not leave cleanly:\n{gone.logged()}"
            self._crew.workers.remove(gone)
        else:
            gone.kill()
            self._crew.workers.remove(gone)
            back = self._crew.start("loop", name=gone.name)
            back.until_started()
            loops.append(back)

    def _settled(self, load: Load) -> Findings:
        until = time.monotonic() + SETTLED_WITHIN_S
        while True:
            with closing(open_log_reader(self.backbone)) as log:
                findings = check(log, self._scene, load)
                findings.add(check_outside(log, self._crew.store))
            if not findings.violations or time.monotonic() > until:
                return findings
            time.sleep(0.5)


def main() -> int:
    """Exit code 1 on a violation; its log and everything beside it are kept."""
    parser = argparse.ArgumentParser(prog="python -m tests.workers.rebalances")
    parser.add_argument("--n", type=int, default=30, help="how many in all (%(default)s)")
    parser.add_argument("--kafka", default="127.0.0.1:19092", help="host:port (%(default)s)")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    asked = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="setpoint-rebalances-"))
    backbone = f"kafka://{asked.kafka}?prefix=rebalances-{uuid.uuid4().hex[:8]}-"
    ordeal = Rebalances(root, backbone, asked.seed)
    findings = ordeal.run(asked.n)
    told = {
        "rebalances": dict(ordeal.happened),
        "seed": asked.seed,
        "violations": findings.violations,
        "found": dict(sorted(findings.counts.items())),
    }
    print(json.dumps(told))  # noqa: T201 - a terminal is what a command has
    if findings.violations:
        print(f"kept in {root} and on {backbone}", file=sys.stderr)  # noqa: T201
        return 1
    leave_kafka_as_it_was(backbone)
    return 0


if __name__ == "__main__":
    sys.exit(main())
