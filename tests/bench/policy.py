"""What a ruling costs: in this process, and by an OPA over HTTP and over a unix socket (P8), interleaved.

    python -m tests.bench.policy [--seconds 5] [--rounds 5]

Open loop: a question is due every 5 ms, and its latency counts from then. The policies are those that ship with
Setpoint, and the input is one that they allow.
"""

import argparse
import asyncio
import gc
import random
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
from tests.opa_world import Grounds, OpaProcess
from tests.property.policy_inputs import valid_input
from tests.property.policy_sets import Judged, judged_sets
from tests.real_parts import OPA, free_port

QUESTIONS_PER_S = 200
WARM_UP = 500
AT_ONCE = 64
GOALS_US = {"regorus": 100, "opa http": 700, "opa socket": 700}


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(prog="policy", description="What a ruling costs.")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each engine in each round (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="how often each engine has its turn (%(default)s)")
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
            grounds.do(measuring, patience_s=3_600)
        finally:
            for process in processes:
                process.kill()
            grounds.close()


async def _held(grounds: Grounds, found: Any) -> None:
    grounds.shelf.hold(found)


async def _measure(judged: Judged, found: Any, urls: list[str], arguments: argparse.Namespace) -> None:
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
    print(f"{'':12}{'p50 us':>9}{'p99 us':>9}{'p99.9 us':>10}{'max us':>9}{'goal p99':>10}{'flat out /s':>13}")
    for name, seen in latencies.items():
        marks = [seen.get_value_at_percentile(each) for each in (50, 99, 99.9)]
        rate = sorted(rates[name])[len(rates[name]) // 2]
        print(
            f"{name:12}{marks[0]:>9}{marks[1]:>9}{marks[2]:>10}{seen.get_max_value():>9}"
            f"{GOALS_US[name]:>10}{rate:>13.0f}"
        )
    for engine in (by_http, by_socket):
        await engine.close()


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
