"""What every demo does: run a real service beside the world that it breaks, then read the log once more."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path

from control_plane.bootstrap.records import open_reader, replay
from control_plane.bootstrap.service import Service
from control_plane.bootstrap.workshop import load_settings, load_workspace
from control_plane.demo.history import History, read_history
from control_plane.demo.scorecard import ReplayReport
from control_plane.demo.story import Line
from control_plane.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Run:
    """What one run is given. `folder` is empty; `began_at` is when the process began, seconds since the epoch.

    `live` is for the llm demo: it asks a model, rather than playing recorded answers.
    """

    seed: int
    folder: Path
    began_at: float
    tell: Callable[[Line], None]
    backbone: str | None = None
    live: bool = False


def service_of(run: Run) -> Service:
    """The service of the workspace in the run's folder, on a port of its own."""
    workspace = load_workspace(run.folder)
    overrides = {"listen": "127.0.0.1:0", **({"backbone": run.backbone} if run.backbone else {})}
    return Service(load_settings(run.folder, {}, overrides, workspace), workspace)


@contextlib.asynccontextmanager
async def serving(service: Service) -> AsyncIterator["asyncio.Task[None]"]:
    """The service, started; the task ends when something that it rests on fails."""
    await service.start()
    running = asyncio.create_task(service.run())
    try:
        yield running
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await service.stop()


async def unless_failed(demo: Coroutine[None, None, str], failed: "asyncio.Task[None]") -> str:
    """What the demo says at its end; raises what the service failed with, if that comes first."""
    task = asyncio.create_task(demo)
    try:
        await asyncio.wait([task, failed], return_when=asyncio.FIRST_COMPLETED)
        if failed.done():
            failed.result()
        return await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def read_again(settings: Settings, since_ms: int) -> tuple[History, ReplayReport]:
    """What the log holds since then, milliseconds since the epoch, and what its replay came to."""
    reader = open_reader(settings)
    try:
        history = await asyncio.to_thread(read_history, reader, since_ms)
        report = await replay(reader)
    finally:
        reader.close()
    replayed = ReplayReport(
        equal=report.equal,
        messages=report.replayed,
        recorded_hash=report.recorded_hash,
        replayed_hash=report.replayed_hash,
    )
    return history, replayed
