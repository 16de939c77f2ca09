"""A REST service in a thread of its own, for commands that talk to one."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from control_plane.api.door import Door
from control_plane.api.serving import RestServer
from control_plane.cli.main import app
from tests.unit.api_world import KEY, World, a_world

PATIENCE_S = 30.0
ROOT = Path(__file__).resolve().parent.parent.parent


def setpoint(*arguments: str, input: str | bytes | None = None, **environment: str) -> Result:
    """Run the command in this process, far from the environment of whoever runs the tests."""
    bare = {"SETPOINT_URL": None, "SETPOINT_API_KEY": None, "NO_COLOR": None} | environment
    return CliRunner().invoke(app, list(arguments), input=input, env=bare, catch_exceptions=False)


def process(*arguments: str, cwd: Path | None = None, **environment: str) -> "subprocess.Popen[str]":
    """The command in a process of its own; end it with `communicate`."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("SETPOINT_")}
    return subprocess.Popen(
        [sys.executable, "-m", "control_plane.cli.main", *arguments],
        cwd=cwd,
        env={**ours, "PYTHONPATH": str(ROOT), **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


class Served:
    """A service that answers while a test calls commands."""

    def __init__(self, world: World, port: int) -> None:
        self.world = world
        self.loop = asyncio.new_event_loop()
        self.server = RestServer(world.app, Door.open("127.0.0.1", port))
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)

    def do(self, work: Callable[[], Awaitable[Any]]) -> Any:
        """Run something on the service's event loop, and wait for it."""

        async def awaited() -> Any:
            return await work()

        return asyncio.run_coroutine_threadsafe(awaited(), self.loop).result(PATIENCE_S)

    def record(self, *messages: Any) -> None:
        """Record messages as if they had stood on the log."""
        self.do(lambda: self.world.record(*messages))

    def setpoint(self, *arguments: str, input: str | bytes | None = None, **environment: str) -> Result:
        """Run the command against this service."""
        known = {"SETPOINT_URL": self.server.url, "SETPOINT_API_KEY": KEY}
        return setpoint(*arguments, input=input, **(known | environment))

    def process(self, *arguments: str) -> "subprocess.Popen[str]":
        """The command against this service, in a process of its own."""
        return process(*arguments, SETPOINT_URL=self.server.url, SETPOINT_API_KEY=KEY)

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()
        self.do(self.server.start)

    def stop(self) -> None:
        """Serve no more."""
        self.do(self.server.stop)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


@contextmanager
def served(*, port: int = 0, **changes: Any) -> Iterator[Served]:
    """A world whose app is served."""
    service = Served(a_world(**changes), port)
    service.start()
    try:
        yield service
    finally:
        service.stop()
