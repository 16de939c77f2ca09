"""The whole service, durable, against ansible-rulebook on the same hundred rules and events, in turn, in one run.

Run as `python -m tests.bench rulebook`; `python -m tests.bench.rulebook COUNT` is one measurement of ours, and prints
one JSON object. Each measurement is a process of its own. One event in a hundred fires a rule. Each side has taken
`WARM_UP` events before its clock runs, which then runs from the first event to the last action; ours goes on until all
is folded and recorded as well. Unless both sides fired what they must, nothing is said of how fast.
"""

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from control_plane.bootstrap.service import Service
from control_plane.bootstrap.workshop import load_settings, load_workspace
from control_plane.loop.step import Done
from control_plane.messages import Command, Event
from control_plane.ports.backbone import Output
from tests.bench.figures import Ratio, line, spread
from tests.bench.hundred import FIRING_EVERY, fired, scans, write_rulebook, write_rules
from tests.bench.ours import FEED_RECORDS, QUIET_AT_MOST_S, Watch, until
from tests.bench.rulebook_install import Missing, rulebook_command

OURS, THEIRS = "setpoint", "ansible-rulebook"
GOAL = 2.0
WARM_UP = 10_000
ROUND_TIMEOUT_S = 300
SOURCE = Path(__file__).with_name("rulebook_source.py")


class FiredWatch(Watch):
    """Counts the commands of each rule beside what is folded."""

    def __init__(self) -> None:
        super().__init__()
        self.fired: Counter[str] = Counter()

    def stepped(self, event: Event, done: Done) -> None:
        super().stepped(event, done)
        self.fired.update(said.agent for said in done.said if isinstance(said, Command))


def measured(rounds: int, events: int) -> dict[str, Any]:
    """Both sides in turn, or what ansible-rulebook lacks on this machine."""
    try:
        program = rulebook_command()
    except Missing as missing:
        return {"missing": str(missing)}
    # The clock of theirs stops at an action, and so the last event must be one that fires.
    events = -(-events // FIRING_EVERY) * FIRING_EVERY
    found: dict[str, list[float]] = {OURS: [], THEIRS: []}
    for number in range(rounds):
        print(f"  {THEIRS}, round {number + 1} of {rounds}", file=sys.stderr, flush=True)
        # Who is first changes, so that neither always has the warmer machine.
        for side in (THEIRS, OURS) if number % 2 == 0 else (OURS, THEIRS):
            answer = theirs(program, events) if side == THEIRS else _ours_apart(events)
            check_fired(side, answer["fired"], events)
            found[side].append(answer["per_s"])
    return {"events": events, "fired": events // FIRING_EVERY, **found}


def check_fired(side: str, found: dict[str, int], events: int) -> None:
    """Stops the bench unless each rule fired as often as it must."""
    must = fired(events)
    if Counter(found) == must:
        return
    wrong = sorted(name for name in {*found, *must} if found.get(name, 0) != must[name])
    raise SystemExit(
        f"{side}: rules fired {sum(found.values())} times and must {must.total()} times; {len(wrong)} did not fire as "
        f"often as they must, such as {', '.join(wrong[:3])}. Nothing was compared: only who does the same is."
    )


def _ours_apart(count: int) -> dict[str, Any]:
    command = [sys.executable, "-W", "ignore", "-m", "tests.bench.rulebook", str(count)]
    done = _done(command)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


async def ours(count: int) -> dict[str, object]:
    """The whole service on the embedded log, until everything is folded and recorded."""
    with tempfile.TemporaryDirectory(prefix="setpoint-bench-") as folder:
        root = Path(folder)
        write_rules(root)
        asked = {"backbone": f"embedded://{root / 'data' / 'log'}", "listen": "127.0.0.1:0"}
        workspace = load_workspace(root)
        service, watch = Service(load_settings(root, {**os.environ}, asked, workspace), workspace), FiredWatch()
        service.observe(watch)
        await service.start()
        try:
            return await _through(service, watch, count)
        finally:
            await service.stop()


async def _through(service: Service, watch: FiredWatch, count: int) -> dict[str, object]:
    warm_up, load = _load(count)
    acts, recorder = count // FIRING_EVERY, service.recorder
    assert recorder is not None, "what is compared records everything"
    async with asyncio.timeout(QUIET_AT_MOST_S):
        await _feed(service, warm_up)
        await until(lambda: watch.folded >= WARM_UP and recorder.taken >= WARM_UP)
        began, taken = time.perf_counter(), recorder.taken
        await _feed(service, load)
        await until(lambda: watch.folded >= WARM_UP + count and watch.outcomes >= acts)
        # Each event that fires makes a decision, a verdict, a command and an outcome.
        await until(lambda: recorder.taken >= taken + count + 4 * acts)
    return {"per_s": count / (time.perf_counter() - began), "fired": watch.fired}


async def _feed(service: Service, load: list[Output]) -> None:
    for at in range(0, len(load), FEED_RECORDS):
        await service.backbone.append(load[at : at + FEED_RECORDS])


def theirs(program: Path, count: int) -> dict[str, Any]:
    """ansible-rulebook as it comes, in a process of its own, fed by a source plug-in of ours."""
    with tempfile.TemporaryDirectory(prefix="rulebook-bench-") as folder:
        root = Path(folder)
        files = {name: str(root / f"{name}.jsonl") for name in ("warm_up", "events")}
        for path, outputs in zip(files.values(), _load(count), strict=True):
            Path(path).write_bytes(b"".join(output.value + b"\n" for output in outputs))
        book, answer = root / "rulebook.yml", root / "answer.json"
        write_rulebook(book, SOURCE.stem, {**files, "answer": str(answer), "fires": count // FIRING_EVERY})
        # It calls programs of ansible-core by their names.
        environment = {**os.environ, "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}"}
        command = [str(program), "--rulebook", str(book), "--source-dir", str(SOURCE.parent)]
        done = _done(command, cwd=root, env=environment)
        if not answer.exists():
            raise SystemExit(f"ansible-rulebook did not take the events:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        found: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
        return found


def _done(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=ROUND_TIMEOUT_S, **options)
    except subprocess.TimeoutExpired:
        raise SystemExit(f"{' '.join(command)} was not done within {ROUND_TIMEOUT_S} s and was ended") from None


def _load(count: int) -> tuple[list[Output], list[Output]]:
    now_ms = time.time_ns() // 1_000_000
    return scans(WARM_UP, now_ms, firing=False, prefix="warm"), scans(count, now_ms)


def table(found: dict[str, Any]) -> str:
    """The figures as lines, or why there are none."""
    if "missing" in found:
        return f"ansible-rulebook was not measured: {found['missing']}"
    return "\n".join(
        (
            f"100 rules on one type, 1 % of {found['events']} events fire: events/s, median (smallest to largest) of "
            f"{len(found[OURS])} rounds",
            f"  ansible-rulebook                 {spread(found[THEIRS])}",
            f"  the whole service, recorded      {spread(found[OURS])}",
            f"  both fired {found['fired']} times in each round, rule by rule the same",
            *map(line, ratios(found)),
        )
    )


def ratios(found: dict[str, Any]) -> list[Ratio]:
    """Ours over theirs, where both were measured."""
    if "missing" in found:
        return []
    value = statistics.median(found[OURS]) / statistics.median(found[THEIRS])
    return [Ratio("P4", "events/s under 100 rules against ansible-rulebook", value, GOAL)]


if __name__ == "__main__":
    print(json.dumps(asyncio.run(ours(int(sys.argv[1])))))
