"""`python -m tests.workers.applies --n 50`: how long until an apply is in force on every worker, and whether the loop
stands still meanwhile. One process per role, two of the loop, on a real Kafka.

An apply is in force in a partition from the record `controls.adopted` on; its append time is the broker's.
"""

import argparse
import json
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from control_plane.adapters.faust import open_log_reader
from control_plane.bootstrap.workshop import load_workspace
from control_plane.messages.event import CONTROLS_ADOPTED
from control_plane.messages.topics import EVENTS
from control_plane.messages.wire import decode_event
from tests.workers.parcels import Depot, write_workspace
from tests.workers.processes import Crew, post, scan, until_ready

LOAD_PER_S = 50


@dataclass(frozen=True, kw_only=True)
class Applies:
    """What was measured, in milliseconds: until every partition followed, and from a scan to its shipment."""

    in_force_ms: Sequence[float]
    shipped_ms: Sequence[float]


def measure(kafka: str, applies: int, home: Path) -> Applies:
    """Alternate between two workspaces, which differ in a rule and a policy."""
    backbone = f"kafka://{kafka}?prefix=apply{uuid.uuid4().hex[:8]}-"
    with Depot() as depot:
        folders = [write_workspace(home / name, depot.port) for name in ("one", "other")]
        rule, permit = folders[1] / "agents/shipper.yaml", folders[1] / "policies/permits/shipping.rego"
        rule.write_text(rule.read_text().replace('"scanned {', '"was scanned {'))
        permit.write_text(permit.read_text().replace("parcels may be shipped", "parcels may still be shipped"))
        sets = [load_workspace(folder).controls for folder in folders]
        crew = Crew(folders[0], backbone, home / "crew")
        try:
            crew.start_all(["api", "executors", "recorder"])
            for loop in [crew.start("loop"), crew.start("loop")]:
                loop.until_started()
            with crew.client() as client, _load(crew, depot) as shipped:
                until_ready(client)
                sent = []
                for n in range(1, applies + 1):
                    wanted = sets[n % 2]
                    items = [{"kind": item.kind, "name": item.name, "body": item.body} for item in wanted.items]
                    sent.append((wanted.revision, time.time() * 1000))
                    client.put(
                        "/v1/controls", json={"items": items}, headers={"If-Match": f'"{sets[(n - 1) % 2].revision}"'}
                    ).raise_for_status()
                    time.sleep(0.2)
            return Applies(in_force_ms=list(_in_force_ms(backbone, sent)), shipped_ms=shipped)
        finally:
            crew.end()


def _in_force_ms(backbone: str, sent: Sequence[tuple[str, float]]) -> Iterator[float]:
    """From each PUT to the last partition's record."""
    adoptions: dict[int, list[tuple[str, int]]] = {}
    with closing(open_log_reader(backbone)) as log:
        for partition in range(log.partitions(EVENTS)):
            for record in log.read(EVENTS, partition):
                event = decode_event(record.value, record.recorded_ms)
                if event.type == CONTROLS_ADOPTED:
                    adoptions.setdefault(partition, []).append((event.data["revision"], record.recorded_ms))
    for revision, at_ms in sent:
        yield max(
            next(when - at_ms for found, when in records if found == revision and when >= at_ms - 1)
            for records in adoptions.values()
        )


@contextmanager
def _load(crew: Crew, depot: Depot) -> Iterator[list[float]]:
    """Scans at a steady rate, and how long each took to its shipment."""
    took_ms: list[float] = []
    stop = threading.Event()

    def run() -> None:
        begun: dict[str, float] = {}
        with crew.client() as client:
            until_ready(client)
            for number in range(10**6):
                if stop.wait(1 / LOAD_PER_S):
                    break
                begun[f"parcel/{number}"] = time.time()
                post(client, [scan(number)])
        depot.until(set(begun))
        took_ms.extend((depot.first_s[subject] - at_s) * 1000 for subject, at_s in begun.items())

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield took_ms
    finally:
        stop.set()
        thread.join()


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which that share of them lies."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def main() -> int:
    """Exit code 1 when the promise (P13) does not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.workers.applies")
    parser.add_argument("--n", type=int, default=50)
    parser.add_argument("--kafka", default="127.0.0.1:19092")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="setpoint-applies-") as home:
        found = measure(asked.kafka, asked.n, Path(home))
    told = {
        "applies": len(found.in_force_ms),
        "in_force_p50_ms": round(percentile(found.in_force_ms, 0.5)),
        "in_force_p99_ms": round(percentile(found.in_force_ms, 0.99)),
        "scans": len(found.shipped_ms),
        "shipped_p50_ms": round(percentile(found.shipped_ms, 0.5)),
        "shipped_p99_ms": round(percentile(found.shipped_ms, 0.99)),
        "shipped_max_ms": round(max(found.shipped_ms)),
    }
    print(json.dumps(told))  # noqa: T201 - a terminal is what a command has
    return 0 if told["in_force_p99_ms"] <= 200 else 1


if __name__ == "__main__":
    sys.exit(main())
