"""What an agent that asks a language model costs the rules beside it (P15): event to command, p50 and p99 at 200/s.

Run as `python -m tests.bench.llm [--rounds N] [--json]`. Three states of the same agent, interleaved, each in a process
of its own on an empty log: `unasked` (its condition never holds), `answers` (asked by one event in ten, answered at
once), `hangs` (asked as often, never answered). What counts is the ratio of `hangs` to `unasked`.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from control_plane.bootstrap.service import Service
from control_plane.bootstrap.workshop import load_settings, load_workspace
from control_plane.messages import topics
from tests import scripted_model as scripted
from tests.bench.ours import Arrivals, Watch, _latency
from tests.bench.workspace import write_workspace
from tests.scripted_model import ScriptedModel, decision

STATES = ("unasked", "answers", "hangs")
COUNT = 2_000
GOAL = 1.05

_AGENT = """\
llm: adviser
version: 1.0.0
on: parcel.scanned
when: {when}
reads: [parcel_log]
intents: [ship_parcel]
goal: Parcels arrive.
prompt: adviser
model: {{name: small, url: "{url}"}}
budget: {{tokens_per_hour: 1000000000}}
in_flight_max: 64
"""


async def measure(state: str) -> dict[str, object]:
    """One measurement on an empty log."""
    reply = scripted.hangs if state == "hangs" else scripted.says(decision("none"))
    with tempfile.TemporaryDirectory(prefix="setpoint-bench-") as folder:
        async with ScriptedModel(reply) as model:
            root = Path(folder)
            write_workspace(root)
            when = "data.n < 0" if state == "unasked" else "data.n % 10 == 0"
            (root / "agents/adviser.yaml").write_text(_AGENT.format(when=when, url=model.url))
            (root / "prompts").mkdir()
            (root / "prompts/adviser.md").write_text("{{subject.id}}: {{data}}\n")
            found = await _measured(root)
            return {**found, "asked": len(model.asked)}


async def _measured(root: Path) -> dict[str, object]:
    workspace = load_workspace(root)
    overrides = {"backbone": f"embedded://{root}/log", "listen": "127.0.0.1:0"}
    service = Service(load_settings(root, {**os.environ}, overrides, workspace), workspace)
    watch, arrivals = Watch(), Arrivals()
    service.observe(watch)
    service.backbone.join("bench", [topics.COMMANDS], arrivals)
    await service.start()
    try:
        return await _latency(service, arrivals, COUNT)
    finally:
        await service.stop()


def table(found: dict[str, list[dict[str, float]]]) -> str:
    """The medians, and what they come to."""
    lines = [f"{'':10} {'p50 ms':>8} {'p99 ms':>8} {'asked':>7}"]
    for state, rounds in found.items():
        p50, p99, asked = (statistics.median(one[key] for one in rounds) for key in ("p50_ms", "p99_ms", "asked"))
        lines.append(f"{state:10} {p50:8.2f} {p99:8.2f} {asked:7.0f}")
    ratios = [hung["p99_ms"] / free["p99_ms"] for hung, free in zip(found["hangs"], found["unasked"], strict=True)]
    spread = ", ".join(f"{ratio:.2f}" for ratio in ratios)
    lines.append(f"p99 while it hangs: {statistics.median(ratios):.2f} x ({spread}); the goal is {GOAL} x")
    return "\n".join(lines)


def main() -> None:
    """Print the table, or one measurement as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("state", nargs="?", choices=STATES)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", dest="as_json")
    asked = parser.parse_args()
    if asked.state is not None:
        print(json.dumps(asyncio.run(measure(asked.state))))
        return
    found: dict[str, list[dict[str, float]]] = {state: [] for state in STATES}
    for _ in range(asked.rounds):
        for state in STATES:
            call = [sys.executable, "-m", "tests.bench.llm", state]
            ended = subprocess.run(call, capture_output=True, text=True, timeout=300, check=True)
            found[state].append(json.loads(ended.stdout.splitlines()[-1]))
    print(json.dumps(found) if asked.as_json else table(found))


if __name__ == "__main__":
    main()
