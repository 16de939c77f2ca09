"""What an agent that hangs on a language model costs the rules beside it (P15): event to command, p50 and p99.

Run as `python -m tests.bench.llm [--phases N] [--rate N] [--json]`. One service on an empty log, in which calm and
hanging phases take turns, so that whatever else the machine does falls on both. The same events come in both, open
loop; in hanging ones every tenth is a question to a model that does not answer before the phase is over.
"""

import argparse
import asyncio
import json
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from control_plane.bootstrap.service import Service
from control_plane.bootstrap.workshop import load_settings, load_workspace
from control_plane.messages import topics
from control_plane.ports.backbone import Output
from tests.bench.load import events
from tests.bench.ours import Arrivals, until
from tests.bench.workspace import write_workspace
from tests.scripted_model import Exchange, ScriptedModel, decision, says

PHASE_S = 4.0
WARM_S = 2.0
GOAL = 1.05

_AGENT = """\
llm: adviser
version: 1.0.0
on: parcel.scanned
when: data.n % 10 == 0 && data.ask == 1
reads: [parcel_log]
intents: [ship_parcel]
goal: Parcels arrive.
prompt: adviser
model: {{name: small, url: "{url}"}}
budget: {{tokens_per_hour: 1000000000}}
timeout: 60s
"""


class Moody:
    """Answers at once, or not before it is let go."""

    def __init__(self) -> None:
        self.let_go = asyncio.Event()
        self.let_go.set()
        self.hung = 0

    async def __call__(self, exchange: Exchange) -> None:
        self.hung += not self.let_go.is_set()
        await self.let_go.wait()
        await says(decision("none"))(exchange)


class Bench:
    """One service, and what it took from each event to its command."""

    def __init__(self, service: Service, arrivals: Arrivals, moody: Moody, rate_per_s: int) -> None:
        self._service = service
        self._arrivals = arrivals
        self._moody = moody
        self._rate_per_s = rate_per_s
        self._next = 0

    async def phase(self, hanging: bool, seconds: float) -> list[float]:
        """Milliseconds of each event of one phase, from when it should have been sent."""
        self._moody.let_go.clear() if hanging else self._moody.let_go.set()
        load = self._events(round(seconds * self._rate_per_s), hanging)
        first, began = self._next - len(load), time.perf_counter() + 0.05
        due = [began + n / self._rate_per_s for n in range(len(load))]
        sending = []
        for at, output in zip(due, load, strict=True):
            await asyncio.sleep(max(0.0, at - time.perf_counter()))
            sending.append(asyncio.create_task(self._service.backbone.append([output])))
        await asyncio.gather(*sending)
        async with asyncio.timeout(120):
            await until(lambda: len(self._arrivals.at) >= self._next)
        self._moody.let_go.set()
        async with asyncio.timeout(120):
            # What waited is answered now, and belongs to neither phase.
            await until(lambda: not self._waiting())
        return [(self._arrivals.at[first + n] - due[n]) * 1000 for n in range(len(load))]

    def _waiting(self) -> int:
        assert self._service._slow is not None, "the service has slow agents"
        return self._service._slow.counts.waiting

    def _events(self, count: int, hanging: bool) -> list[Output]:
        """All of them are shipped by the agent in Python."""
        found = events(count, 1.0, time.time_ns() // 1_000_000, first=self._next)
        self._next += count
        return [_calmed(output, hanging) for output in found]


def _calmed(output: Output, hanging: bool) -> Output:
    """The same bytes but for one letter: whether a model may be asked."""
    event = json.loads(output.value)
    event["data"]["ask"] = int(hanging)
    return Output(output.topic, output.key, json.dumps(event).encode(), output.partition)


async def measure(phases: int, rate_per_s: int) -> dict[str, object]:
    """The latencies of both kinds of phase."""
    moody = Moody()
    with tempfile.TemporaryDirectory(prefix="setpoint-bench-") as folder:
        async with ScriptedModel(moody) as model:
            root = Path(folder)
            write_workspace(root)
            (root / "agents/adviser.yaml").write_text(_AGENT.format(url=model.url))
            (root / "prompts").mkdir()
            (root / "prompts/adviser.md").write_text("{{subject.id}}: {{data}}\n")
            workspace = load_workspace(root)
            overrides = {"backbone": f"embedded://{root}/log", "listen": "127.0.0.1:0"}
            service = Service(load_settings(root, {**os.environ}, overrides, workspace), workspace)
            arrivals = Arrivals()
            service.backbone.join("bench", [topics.COMMANDS], arrivals)
            await service.start()
            try:
                bench = Bench(service, arrivals, moody, rate_per_s)
                await bench.phase(False, WARM_S)
                await bench.phase(True, WARM_S)
                found: dict[bool, list[float]] = {False: [], True: []}
                cpu_s = {False: 0.0, True: 0.0}
                for number in range(2 * phases):
                    # Calm, hanging, hanging, calm: what grows with time falls on both.
                    hanging = number % 4 in (1, 2)
                    began_s = time.process_time()
                    found[hanging] += await bench.phase(hanging, PHASE_S)
                    cpu_s[hanging] += time.process_time() - began_s
            finally:
                await service.stop()
    calm, hanging = (_figures(found[state], cpu_s[state]) for state in (False, True))
    return {"calm": calm, "hanging": hanging, "hung": moody.hung}


def _figures(latencies_ms: Sequence[float], cpu_s: float) -> dict[str, float]:
    ranked = sorted(latencies_ms)
    return {
        "p50_ms": ranked[len(ranked) // 2],
        "p99_ms": ranked[int(len(ranked) * 0.99)],
        "count": len(ranked),
        "cpu_us": cpu_s * 1_000_000 / len(ranked),
    }


def main() -> None:
    """Print the table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--phases", type=int, default=6, help="of each kind")
    parser.add_argument("--rate", type=int, default=100, help="events a second")
    parser.add_argument("--json", action="store_true", dest="as_json")
    asked = parser.parse_args()
    found = asyncio.run(measure(asked.phases, asked.rate))
    if asked.as_json:
        print(json.dumps(found))
        return
    for state in ("calm", "hanging"):
        figures = found[state]
        assert isinstance(figures, dict)
        print(
            f"{state:8} p50 {figures['p50_ms']:8.2f} ms, p99 {figures['p99_ms']:8.2f} ms, "
            f"{figures['cpu_us']:.0f} us of CPU each, {figures['count']} events"
        )
    calm, hanging = found["calm"], found["hanging"]
    assert isinstance(calm, dict)
    assert isinstance(hanging, dict)
    ratios = [f"{key[:3]} {hanging[key] / calm[key]:.3f} x" for key in ("p50_ms", "p99_ms", "cpu_us")]
    print(f"while {found['hung']} questions hang: {', '.join(ratios)}; the goal for p99 is {GOAL} x")


if __name__ == "__main__":
    main()
