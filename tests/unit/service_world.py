"""A whole service in a thread of its own, on a folder that a test writes, and the command line against it."""

import asyncio
import gc
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from typer.testing import Result

from control_plane.bootstrap.service import Service
from control_plane.bootstrap.workshop import load_workspace
from control_plane.settings import Settings
from tests.unit.cli_world import KEY, setpoint

PATIENCE_S = 60.0

BARE: dict[str, str] = {
    "setpoint.yaml": "apiVersion: setpoint/v1\nlisten: 127.0.0.1:0\n",
    "intents/slow_down.yaml": """\
intent: slow_down
subject_kind: machine
executor: dry_run
parameters:
  type: object
  properties: {percent: {type: integer, minimum: 1, maximum: 100}}
  additionalProperties: false
""",
    "rows/heat.yaml": "row: heat\non: [machine.measured]\nfields: {celsius: {last: data.celsius}}\n",
    "agents/heat_guard.yaml": """\
rule: heat_guard
version: 1.0.0
on: machine.measured
when: data.celsius > 90.0
propose: {intent: slow_down, because: "{data.celsius} is too hot"}
""",
    "policies/permits/slowing.rego": """\
package setpoint.permits.slowing

allow contains {"code": "slowing", "msg": "slowing down is harmless"} if {
	input.decision.intent == "slow_down"
	object.get(input.decision.parameters, "percent", 10) < 100
}
""",
}
"""A workspace of one machine's heat. Its permit says nothing about stopping altogether."""


def written(folder: Path, **changes: str | None) -> Path:
    """The workspace with other files, named by their paths; None takes one out."""
    for path, text in {**BARE, **changes}.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        if text is None:
            file.unlink(missing_ok=True)
        else:
            file.write_text(text)
    return folder


class Running:
    """A service that runs, and commands against it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._work: asyncio.Task[None] | None = None
        self.service: Service

    @property
    def url(self) -> str:
        """Where it listens."""
        assert self.service.rest is not None
        return self.service.rest.url

    def do(self, work: Callable[[], Awaitable[Any]]) -> Any:
        """Run something on the service's event loop, and wait for it."""

        async def awaited() -> Any:
            return await work()

        return asyncio.run_coroutine_threadsafe(awaited(), self.loop).result(PATIENCE_S)

    def setpoint(self, *arguments: str, **options: Any) -> Result:
        """Run the command against this service."""
        return setpoint(*arguments, **{"SETPOINT_URL": self.url, "SETPOINT_API_KEY": KEY, **options})

    def start(self) -> None:
        """As `setpoint up` does."""
        loaded = load_workspace(self.folder)
        settings = Settings.load(self.folder, loaded.settings, {"SETPOINT_API_KEY": KEY})
        settings.data_dir.mkdir(exist_ok=True)
        self._thread.start()

        async def begin() -> None:
            self.service = Service(settings, loaded)
            await self.service.start()
            self._work = asyncio.create_task(self.service.run())

        self.do(begin)

    def stop(self) -> None:
        """As a signal does. Raises what the service failed with."""

        async def end() -> None:
            work = self._work
            if work is not None and not work.done():
                work.cancel()
            elif work is not None:
                work.result()
            await self.service.stop()
            # What a policy engine holds belongs to this thread, also to be freed.
            del self.service, work
            self._work = None
            gc.collect()

        try:
            self.do(end)
        finally:
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join()
            self.loop.close()


@contextmanager
def running(folder: Path) -> Iterator[Running]:
    """A service on a folder."""
    world = Running(folder)
    world.start()
    try:
        yield world
    finally:
        world.stop()
