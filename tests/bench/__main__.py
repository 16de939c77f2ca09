"""`make bench`: the whole service against stock Faust on the same log and against ansible-rulebook on the same rules,
interleaved in one run; ratios count.

Each measurement runs in a process of its own on an empty log; the others and we take turns, round by round. The
figures of a noisy machine are noisy, and so the spread is printed beside the median. `rulebook` measures against
ansible-rulebook alone; `failover` against Faust's recovery on Kafka alone; `rows` and `rules` what a field of a row and
a rule cost, `stores` what SQLite and PostgreSQL take: in seconds and without a log.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from tests.bench import chart, figures, policy, rows, rulebook, rules, stores

EMBEDDED = "embedded://HERE/log"
TIMEOUT_S = 600
WHO = ("stock", "ours")
FROM_OUTSIDE = ("hop", "stock", "ours", "apart")
COSTS = {"rows": rows.table, "rules": rules.table, "stores": stores.table}
Part = tuple[str, Callable[[], dict[str, Any]], Callable[[Any], str]]
"""Its name, what measures it, and how it is shown."""
LATENCY_COUNT = 3000
SUBJECTS = 100_000


def main() -> int:
    """Print the table. Goals that are missed are said, and do not fail the run."""
    asked = _asked()
    if asked.measure in COSTS:
        costs = _run(f"tests.bench.{asked.measure}")
        print(json.dumps(costs) if asked.as_json else COSTS[asked.measure](costs))
        return 0
    if asked.measure == "rulebook":
        against = rulebook.measured(asked.rounds, asked.events)
        print(json.dumps(against) if asked.as_json else rulebook.table(against))
        return 1 if "missing" in against else 0
    found: dict[str, Any] = {}
    for name, measured, table in _parts(asked):
        found[name] = measured()
        if not asked.as_json:
            print(table(found[name]), flush=True)
    if asked.chart is not None:
        asked.chart.write_text(chart.drawn(_ratios(found)), encoding="utf-8")
    if asked.as_json:
        print(json.dumps(found))
    return 0


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    measures = ("service", "failover", "rulebook", *COSTS)
    parser.add_argument("measure", nargs="?", choices=measures, default="service")
    parser.add_argument("--backbone", default="", help="kafka://host:port, measured beside the embedded log")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--events", type=int, default=10_000)
    parser.add_argument("--chart", type=Path, help="write the ratios as an SVG picture here")
    parser.add_argument("--json", action="store_true", dest="as_json")
    asked = parser.parse_args()
    if asked.measure == "failover" and not asked.backbone:
        parser.error("failover is measured on Kafka. Name one with --backbone kafka://host:port.")
    return asked


def _parts(asked: argparse.Namespace) -> Iterator[Part]:
    logs = [EMBEDDED, *filter(None, [asked.backbone])] if asked.measure == "service" else []
    for log in logs:
        name = log.partition(":")[0]
        yield name, partial(_measured, log, asked.rounds, asked.events), partial(figures.table, name)
    if asked.backbone:
        yield "failover", partial(_failover, asked.backbone), figures.failover_table
    if asked.measure == "service":
        for name, table in COSTS.items():
            yield name, partial(_run, f"tests.bench.{name}"), table
        yield "policy", partial(_run, "tests.bench.policy", "--json"), policy.table
        yield "rulebook", partial(rulebook.measured, asked.rounds, asked.events), rulebook.table


def _ratios(found: Mapping[str, Any]) -> list[figures.Ratio]:
    made = figures.ratios(found)
    if "policy" in found:
        made += policy.ratios(found["policy"])
    if "rulebook" in found:
        made += rulebook.ratios(found["rulebook"])
    return made


def _failover(backbone: str) -> dict[str, Any]:
    return {who: _run("tests.bench.failover", who, backbone, str(SUBJECTS)) for who in WHO}


def _measured(backbone: str, rounds: int, events: int) -> dict[str, list[float]]:
    name = backbone.partition(":")[0]
    found: dict[str, list[float]] = {}
    for number in range(rounds):
        print(f"  {name}, round {number + 1} of {rounds}", file=sys.stderr, flush=True)
        for key, value in _one_round(backbone, events).items():
            found.setdefault(key, []).append(value)
    return found


def _one_round(backbone: str, events: int) -> dict[str, float]:
    found = {
        "stock": _run("tests.bench.stock", backbone, str(events))["per_s"],
        "loops": _run("tests.bench.ours", "loops", backbone, str(events))["per_s"],
        "bare": _run("tests.bench.ours", "bare", backbone, str(events))["per_s"],
        "sensed": _run("tests.bench.ours", "sensed", backbone, str(2 * events))["per_s"],
    }
    if not backbone.startswith("kafka"):
        latency = _run("tests.bench.ours", "latency", backbone, str(LATENCY_COUNT))
        return found | {"ours_p50_ms": latency["p50_ms"], "ours_p99_ms": latency["p99_ms"]}
    found["hop"] = _run("tests.bench.hop", backbone, str(2 * events))["per_s"]
    for who in FROM_OUTSIDE:
        latency = _run("tests.bench.outside", who, backbone, str(LATENCY_COUNT))
        found |= {f"{who}_p50_ms": latency["p50_ms"], f"{who}_p99_ms": latency["p99_ms"]}
    return found


def _run(module: str, *arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-W", "ignore", "-m", module, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


if __name__ == "__main__":
    sys.exit(main())
