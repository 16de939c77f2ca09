"""The incident demo: real services, broken for real, watched and repaired by a real loop that is told nothing.

It verifies by looking at the processes, not by asking the service; it ends by itself; no process outlives it.
"""

import asyncio
import contextlib
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from control_plane.demo.plan import Fault, draw_faults
from control_plane.demo.ports import free_ports
from control_plane.demo.running import Run, read_again, service_of, serving, unless_failed
from control_plane.demo.scorecard import InjectedFault, Scorecard, score
from control_plane.demo.story import Story
from control_plane.demo.workers import LOOK_EVERY_S, Look, Workers, end_all
from control_plane.workspace.creating import create_workspace

SERVICES: Final = {"web-1": 7101, "web-2": 7102, "web-3": 7103, "web-4": 7104}
"""The services of the example, with the ports that stand in it."""

LAST_ARGUMENT: Final = '"{port}"]'
"""The end of the services' command line in the example; the demo adds to it."""

STARTS_FILE: Final = "starts.jsonl"
TIME_LIMIT_S: Final = 40.0
WELL_LOOKS: Final = 3
"""How many looks in a row must find a service well before it counts as repaired."""

CALM_S: Final = 2.5
"""How long after the spike nothing may have been done about it."""


async def run_incident(run: Run) -> Scorecard:
    """Run the demo to its end, and count what came of it."""
    starts_file = run.folder / STARTS_FILE
    try:
        return await _run(run, starts_file)
    finally:
        end_all(starts_file)


async def _run(run: Run, starts_file: Path) -> Scorecard:
    workers = Workers(prepared(run.folder, starts_file), starts_file)
    story = Story(run.tell)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(workers.close)
        since_ms = int(time.time() * 1000)
        service = service_of(run)
        service.observe(story)
        async with serving(service) as failed:
            await workers.all_well()
            story.say("start", "", f"{len(workers.ports)} services run, and the loop watches them")
            incident = _Incident(workers, story, draw_faults(run.seed, list(workers.ports)))
            interrupted = await unless_failed(incident.run(), failed)
        history, replayed = await read_again(service.settings, since_ms)
    return score(
        seed=run.seed,
        began_at=run.began_at,
        injected=incident.injected,
        history=history,
        starts=workers.starts(),
        replay=replayed,
        interrupted=interrupted,
    )


class _Incident:
    """Breaks services as planned, and looks at them until all is well again or the time is over."""

    def __init__(self, workers: Workers, story: Story, plan: Sequence[Fault]) -> None:
        self.injected: list[InjectedFault] = []
        self._workers = workers
        self._story = story
        self._plan = plan

    async def run(self) -> str:
        """Until the end; gives the reason when that is the time limit."""
        try:
            async with asyncio.timeout(TIME_LIMIT_S), asyncio.TaskGroup() as group:
                began_s = time.monotonic()
                for at, fault in enumerate(self._plan):
                    await asyncio.sleep(max(0.0, fault.at_s - (time.monotonic() - began_s)))
                    await self._break(fault)
                    group.create_task(self._watch(at) if fault.is_real else asyncio.sleep(CALM_S))
                group.create_task(self._until_judged())
        except TimeoutError:
            return f"after {TIME_LIMIT_S:g} s not everything was over"
        except ExceptionGroup as failures:
            # What failed first has ended the rest; whoever runs this knows single errors.
            raise failures.exceptions[0] from failures
        self._story.say("end", "", "everything is judged; now the log is replayed")
        return ""

    async def _break(self, fault: Fault) -> None:
        before = await self._workers.look(fault.service)
        await self._workers.break_it(fault.service, fault.kind)
        self.injected.append(InjectedFault(fault=fault, injected_at=time.time(), process=(before.pid, None)))
        self._story.broken(fault)

    async def _watch(self, at: int) -> None:
        """Look at a service until another process does its work, and does it well."""
        found = self.injected[at]
        service, (pid_before, _) = found.fault.service, found.process
        well, well_since = 0, 0.0
        while well < WELL_LOOKS:
            await asyncio.sleep(LOOK_EVERY_S)
            look = await self._workers.look(service)
            if not _is_replaced(look, pid_before):
                well = 0
                continue
            well_since = time.time() if well == 0 else well_since
            well += 1
        self.injected[at] = replace(found, repaired_at=well_since, process=(pid_before, look.pid))
        self._story.say("repaired", service, _repaired(look, pid_before))

    async def _until_judged(self) -> None:
        """Wait until every fault was repaired and every action judged."""
        while self._unrepaired() or self._story.is_open:  # noqa: ASYNC110 - observed
            await asyncio.sleep(LOOK_EVERY_S)

    def _unrepaired(self) -> bool:
        return any(found.fault.is_real and found.repaired_at is None for found in self.injected)


def _is_replaced(look: Look, pid_before: int | None) -> bool:
    return look.is_well and look.pid != pid_before


def _repaired(look: Look, pid_before: int | None) -> str:
    return (
        f"seen from outside: process {look.pid} instead of {pid_before}, "
        f"answers in {look.latency_ms:.0f} ms, takes {look.rss_mb:.0f} MB"
    )


def prepared(folder: Path, starts_file: Path) -> dict[str, int]:
    """The example in the folder, on ports that are free here, its services ending with this process."""
    create_workspace(folder, "incident")
    ports = dict(zip(SERVICES, free_ports(len(SERVICES)), strict=True))
    options = ", ".join(["--starts", json.dumps(str(starts_file)), "--while-pid", f'"{os.getpid()}"'])
    for path in (folder / "triggers/probes.yaml", folder / "executors/supervised_process.yaml"):
        text = path.read_text()
        for name, port in SERVICES.items():
            text = text.replace(str(port), str(ports[name]))
        path.write_text(text.replace(LAST_ARGUMENT, f"{LAST_ARGUMENT[:-1]}, {options}]"))
    return ports
