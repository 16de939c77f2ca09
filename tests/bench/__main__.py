"""`make bench`: the whole service against stock Faust on the same log and against ansible-rulebook on the same rules,
interleaved in one run; ratios count.

Each measurement runs in a process of its own on an empty log; the others and we take turns, round by round. The
figures of a noisy machine are noisy, and so the spread is printed beside the median. `rulebook` measures against
ansible-rulebook alone; `rows` and `rules` what a field of a row and a rule cost, in seconds and without a log.
"""

import argparse
import json
import statistics
import subprocess
import sys
from typing import Any

from tests.bench import rows, rulebook, rules
from tests.bench.figures import spread, verdict

EMBEDDED = "embedded://HERE/log"
LOOPS_GOAL, SENSED_GOAL, P99_GOAL_MS = 1.0, 4.0, 5.0
TIMEOUT_S = 300


def main() -> int:
    """Print the table. Goals that are missed are said, and do not fail the run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("measure", nargs="?", choices=("service", "rulebook", "rows", "rules"), default="service")
    parser.add_argument("--backbone", default="", help="kafka://host:port, measured beside the embedded log")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--events", type=int, default=10_000)
    parser.add_argument("--json", action="store_true", dest="as_json")
    asked = parser.parse_args()
    tables = {"rows": rows.table, "rules": rules.table}
    if asked.measure in tables:
        costs = _run(f"tests.bench.{asked.measure}")
        print(json.dumps(costs) if asked.as_json else tables[asked.measure](costs))
        return 0
    if asked.measure == "rulebook":
        against = rulebook.measured(asked.rounds, asked.events)
        print(json.dumps(against) if asked.as_json else rulebook.table(against))
        return 1 if "missing" in against else 0
    found: dict[str, Any] = {}
    for backbone in [EMBEDDED, *filter(None, [asked.backbone])]:
        name = backbone.partition(":")[0]
        found[name] = _measured(backbone, asked.rounds, asked.events)
        if not asked.as_json:
            print(_table(name, found[name]), flush=True)
    found |= {name: _run(f"tests.bench.{name}") for name in tables}
    found["rulebook"] = rulebook.measured(asked.rounds, asked.events)
    if asked.as_json:
        print(json.dumps(found))
    else:
        for name, table in tables.items():
            print(table(found[name]))
        print(rulebook.table(found["rulebook"]))
    return 0


def _measured(backbone: str, rounds: int, events: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {"stock": [], "loops": [], "sensed": [], "p50_ms": [], "p99_ms": []}
    for number in range(rounds):
        print(f"  {backbone.partition(':')[0]}, round {number + 1} of {rounds}", file=sys.stderr, flush=True)
        found["stock"].append(_run("tests.bench.stock", backbone, str(events))["per_s"])
        found["loops"].append(_run("tests.bench.ours", "loops", backbone, str(events))["per_s"])
        found["sensed"].append(_run("tests.bench.ours", "sensed", backbone, str(2 * events))["per_s"])
        latency = _run("tests.bench.ours", "latency", backbone, "3000")
        found["p50_ms"].append(latency["p50_ms"])
        found["p99_ms"].append(latency["p99_ms"])
    return found


def _run(module: str, *arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-W", "ignore", "-m", module, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def _table(name: str, figures: dict[str, list[float]]) -> str:
    stock = statistics.median(figures["stock"])
    lines = [f"{name}: median (smallest to largest) of {len(figures['stock'])} rounds"]
    lines.append(f"  stock Faust, one hop, events/s   {spread(figures['stock'])}")
    for key, label, goal in (
        ("loops", "full loops/s", LOOPS_GOAL),
        ("sensed", "sensed events/s, 1 % decide", SENSED_GOAL),
    ):
        ratio = statistics.median(figures[key]) / stock
        lines.append(
            f"  {label:<32} {spread(figures[key])}  {ratio:.2f} x stock, {verdict(ratio >= goal)} {goal:.1f} x"
        )
    lines.append(f"  event to command at 200/s, p50   {spread(figures['p50_ms'])} ms")
    p99 = statistics.median(figures["p99_ms"])
    judged = f"{verdict(p99 <= P99_GOAL_MS)} {P99_GOAL_MS:g} ms"
    lines.append(f"  event to command at 200/s, p99   {spread(figures['p99_ms'])} ms, {judged}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
