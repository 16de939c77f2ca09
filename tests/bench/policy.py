"""What a ruling costs: in this process, and by an OPA over HTTP and over a unix socket (P8), interleaved.

    python -m tests.bench.policy [--seconds 5] [--rounds 5]

Open loop: a question is due every 5 ms, and its latency counts from then. The policies are those that ship with
Setpoint, and the input is one that they allow.
"""

import argparse
import asyncio
import gc
import json
import random
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from hdrh.histogram import HdrHistogram

from control_plane.adapters.opa.engine import OpaEngine
from control_plane.adapters.opa.relocation import relocated
from control_plane.adapters.regorus import RegorusEngine
from control_plane.messages import Question, Ruling
from control_plane.ports.policy_engine import PolicyEngine
from tests.bench.figures import Ratio, line
from tests.opa_world import Grounds, OpaProcess
from tests.property.policy_inputs import valid_input
from tests.property.policy_sets import Judged, judged_sets
from tests.real_parts import OPA, free_port

QUESTIONS_PER_S = 200
WARM_UP = 500
AT_ONCE = 64
Figures = dict[str, dict[str, float]]
"""By engine: latencies and rulings a second."""
GOALS_US = {"regorus": 100, "opa http": 700, "opa socket": 700}


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(prog="policy", description="What a ruling costs.")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each engine in each round (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="how often each engine has its turn (%(default)s)")
    parser.add_argument("--json", action="store_true", dest="as_json")
    arguments = parser.parse_args()
    OPA.ensure()
    if OPA.absent:
        raise SystemExit(f"no OPA: {OPA.absent}")
    with tempfile.TemporaryDirectory() as home:
        grounds = Grounds()
        processes = [
            OpaProcess(Path(OPA.address), Path(home) / "http", grounds.config, f"http://127.0.0.1:{free_port()}"),
            OpaProcess(Path(OPA.address), Path(home) / "socket", grounds.config),
        ]
        try:
            for process in processes:
                process.start()
            judged = next(judged_sets())
            found = relocated(judged)
            grounds.do(_held(grounds, found))
            measuring = _measure(judged, found, [process.url for process in processes], arguments)
            figures = grounds.do(measuring, patience_s=3_600)
            print(json.dumps(figures) if arguments.as_json else table(figures))
        finally:
            for process in processes:
                process.kill()
            grounds.close()


async def _held(grounds: Grounds, found: Any) -> None:
    grounds.shelf.hold(found)


async def _measure(judged: Judged, found: Any, urls: list[str], arguments: argparse.Namespace) -> Figures:
    from control_plane.adapters.opa.address import OpaAddress

    by_http, by_socket = (OpaEngine(OpaAddress.of(url), confirm_timeout_s=30) for url in urls)
    for engine in (by_http, by_socket):
        await engine.confirm(found)
    engines: dict[str, PolicyEngine] = {"regorus": RegorusEngine(), "opa http": by_http, "opa socket": by_socket}
    question = await _allowed(engines["regorus"], judged)
    latencies = {name: HdrHistogram(1, 60_000_000, 3) for name in engines}
    rates: dict[str, list[float]] = {name: [] for name in engines}
    for name, engine in engines.items():
        for _ in range(WARM_UP):
            assert (await engine.rule(question, judged)).answer == "allow", name
    gc.collect()
    gc.freeze()
    for _ in range(arguments.rounds):
        for name, engine in engines.items():
            await _paced(lambda engine=engine: engine.rule(question, judged), latencies[name], arguments.seconds)
            rates[name].append(await _flat_out(engine, question, judged, arguments.seconds / 5))
    for engine in (by_http, by_socket):
        await engine.close()
    return {
        name: {
            **{f"p{mark:g}_us": seen.get_value_at_percentile(mark) for mark in (50, 99, 99.9)},
            "max_us": seen.get_max_value(),
            "per_s": statistics.median(rates[name]),
        }
        for name, seen in latencies.items()
    }


def table(figures: Figures) -> str:
    """The figures as lines."""
    columns = ("p50_us", "p99_us", "p99.9_us", "max_us", "per_s")
    lines = [f"{name:12}" + "".join(f"{one[column]:>10.0f}" for column in columns) for name, one in figures.items()]
    head = f"{'a ruling':12}" + "".join(f"{column:>10}" for column in columns)
    return "\n".join([head, *lines, *map(line, ratios(figures))])


def ratios(figures: Figures) -> list[Ratio]:
    """What a ruling costs at p99, against what it may."""
    return [
        Ratio("P8", f"a ruling at p99, {name}", one["p99_us"], GOALS_US[name], is_limit=True, unit="us")
        for name, one in figures.items()
    ]


async def _allowed(engine: PolicyEngine, judged: Judged) -> Question:
    """A question that is allowed: no reason cuts it short."""
    rng = random.Random(1)
    while True:
        question = Question(id="decision-1", input=valid_input(rng, judged.favours))
        if (await engine.rule(question, judged)).answer == "allow":
            return question


async def _paced(ask: Callable[[], Awaitable[Ruling]], seen: HdrHistogram, seconds: float) -> None:
    begun = time.perf_counter()
    for n in range(int(seconds * QUESTIONS_PER_S)):
        due = begun + n / QUESTIONS_PER_S
        await _until(due)
        assert (await ask()).answer == "allow"
        seen.record_value(max(1, round((time.perf_counter() - due) * 1_000_000)))


async def _until(due: float) -> None:
    """Timers are late by up to a millisecond, which is none of the engine's doing: so the end is waited for awake."""
    await asyncio.sleep(max(0.0, due - time.perf_counter() - 0.0015))
    while time.perf_counter() < due:
        pass


async def _flat_out(engine: PolicyEngine, question: Question, judged: Judged, seconds: float) -> float:
    begun, count = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds:
        await asyncio.gather(*[engine.rule(question, judged) for _ in range(AT_ONCE)])
        count += AT_ONCE
    return count / (time.perf_counter() - begun)


if __name__ == "__main__":
    main()
