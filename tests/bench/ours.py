"""One measurement of the whole service, in a process of its own. Prints one JSON object.

Run as `python -m tests.bench.ours MEASURE BACKBONE COUNT`, where MEASURE is one of these.

- `loops`: every event decides; the clock stops when the last outcome is folded and everything is recorded.
- `sensed`: one event in a hundred decides; otherwise the same.
- `bare`: as `loops`, without what governs and records: no guards, an engine that always allows, no recorder.
- `latency`: 200 events/s, open loop; from the time an event should be sent to its command on `commands.v1`, in this
  very process; on Kafka `tests.bench.outside` measures it from another one, and runs this with `serve`.
"""

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from control_plane.bootstrap.service import ROLES, Service
from control_plane.bootstrap.workshop import load_settings, load_workspace
from control_plane.governance import order
from control_plane.loop.step import Done
from control_plane.messages import Command, DeadLetter, Event, Question, Ruling, Verdict, topics
from control_plane.messages.wire import decode
from control_plane.ports.backbone import Record
from control_plane.ports.policy_engine import PolicySet
from tests.bench.load import events
from tests.bench.outside import until_told
from tests.bench.workspace import write_workspace

FEED_RECORDS = 500
RATE_PER_S = 200
QUIET_AT_MOST_S = 120.0


class Watch:
    """Counts what the loop folds (`control_plane.partition.Observer`)."""

    def __init__(self) -> None:
        self.folded = self.outcomes = self.commands = 0
        self.first_at: float | None = None
        self.last_at = 0.0

    def stepped(self, event: Event, done: Done) -> None:
        self.last_at = time.perf_counter()
        self.first_at = self.first_at or self.last_at
        self.outcomes += event.type == "command.succeeded"
        self.folded += event.type == "parcel.scanned"
        for message in done.said:
            self.commands += isinstance(message, Command)
            assert not isinstance(message, Verdict) or message.answer == "allow", message.reasons

    def dead_lettered(self, letter: DeadLetter) -> None:
        raise AssertionError(f"a bench event was refused: {letter.detail}")


class Arrivals:
    """Reads `commands.v1` as an executor would, and notes when each command is there."""

    def __init__(self) -> None:
        self.at: dict[int, float] = {}

    async def take(self, topic: str, partition: int, records: Sequence[Record]) -> None:
        now = time.perf_counter()
        for record in records:
            self.at[decode(record.value, Command).parameters["n"]] = now


async def measure(what: str, backbone: str, count: int) -> dict[str, object]:
    """One measurement on an empty log."""
    with tempfile.TemporaryDirectory(prefix="setpoint-bench-") as folder:
        root = Path(folder)
        write_workspace(root)
        url = backbone.replace("HERE", str(root / "data"))
        if url.startswith("kafka:"):
            url += f"?prefix=bench-{time.time_ns()}."
        workspace = load_workspace(root)
        settings = load_settings(root, {**os.environ}, {"backbone": url, "listen": "127.0.0.1:0"}, workspace)
        roles = [role for role in ROLES if role not in ("recorder", "api")] if what == "bare" else None
        service, watch, arrivals = Service(settings, workspace, roles), Watch(), Arrivals()
        service.observe(watch)
        if what == "latency":
            service.backbone.join("bench", [topics.COMMANDS], arrivals)
        await (_ungoverned(service) if what == "bare" else service.start())
        try:
            if what == "latency":
                return await _latency(service, arrivals, count)
            return await _throughput(service, watch, count, 0.01 if what == "sensed" else 1.0)
        finally:
            await service.stop()


async def _throughput(service: Service, watch: Watch, count: int, share: float) -> dict[str, object]:
    load = events(count, share, time.time_ns() // 1_000_000)
    deciding = sum(b'"ship":true' in output.value for output in load)
    began = time.perf_counter()
    for at in range(0, count, FEED_RECORDS):
        await service.backbone.append(load[at : at + FEED_RECORDS])
    async with asyncio.timeout(QUIET_AT_MOST_S):
        await until(lambda: watch.folded >= count and watch.outcomes >= deciding)
        folded_s = time.perf_counter() - began
        # Each deciding event makes a decision, a verdict, a command and an outcome.
        recorder = service.recorder
        if recorder is not None:
            await until(lambda: recorder.taken >= count + 4 * deciding)
    took_s = time.perf_counter() - began
    return {"per_s": count / took_s, "folded_per_s": count / folded_s, "commands": watch.commands}


async def until(reached: Callable[[], bool]) -> None:
    """Looks rather than listens: what is measured must not be slowed by telling."""
    while not reached():  # noqa: ASYNC110 - see above
        await asyncio.sleep(0.005)


async def _latency(service: Service, arrivals: Arrivals, count: int) -> dict[str, object]:
    """Open loop: an event that cannot be sent in time counts from when it should have been."""
    load = events(count, 1.0, time.time_ns() // 1_000_000)
    began = time.perf_counter() + 0.1
    due = [began + n / RATE_PER_S for n in range(count)]
    sending = set()
    for at, output in zip(due, load, strict=True):
        await asyncio.sleep(max(0.0, at - time.perf_counter()))
        task = asyncio.create_task(service.backbone.append([output]))
        sending.add(task)
        task.add_done_callback(sending.discard)
    async with asyncio.timeout(QUIET_AT_MOST_S):
        await until(lambda: len(arrivals.at) >= count)
    # The first second warms caches and connections on every side.
    ms = sorted((arrivals.at[n] - due[n]) * 1000 for n in range(RATE_PER_S, count))
    return {"p50_ms": ms[len(ms) // 2], "p99_ms": ms[int(len(ms) * 0.99)], "max_ms": ms[-1]}


async def serve(servers: str, prefix: str, folder: str, *roles: str) -> None:
    """The service for as long as it is wanted: the whole of it, or with these roles."""
    root = Path(folder)
    write_workspace(root)
    workspace = load_workspace(root)
    overrides = {"backbone": f"kafka://{servers}?prefix={prefix}", "listen": "127.0.0.1:0"}
    service = Service(load_settings(root, {**os.environ}, overrides, workspace), workspace, roles or None)
    await service.start()
    try:
        await until_told()
    finally:
        await service.stop()


class AlwaysAllows:
    """Stands for the policy engine where nothing is to be governed."""

    concurrent = False

    async def rule(self, question: Question, policies: PolicySet) -> Ruling:
        return Ruling(answer="allow", reasons=(), revision=policies.revision)


async def _ungoverned(service: Service) -> None:
    """Started without guards, policy and recording: what a loop costs that nobody could account for."""
    order.ORDER = ()  # type: ignore[misc]
    await service.start()
    assert service._partitions is not None
    service._partitions._engine = AlwaysAllows()


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        asyncio.run(serve(*sys.argv[2:]))
        sys.exit()
    print(json.dumps(asyncio.run(measure(sys.argv[1], sys.argv[2], int(sys.argv[3])))))
