"""The HTTP server inside our own event loop. Signals are the process's affair, not the server's."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterator
from typing import Final

import uvicorn
from fastapi import FastAPI

from control_plane.api.door import Door

STOP_TIMEOUT_S: Final = 3
"""How long a request may go on after the server was told to stop."""

KEEP_ALIVE_S: Final = 30

_log = logging.getLogger(__name__)


class RestServer:
    """One app behind one door. `failed` is set when the server ends without being told to."""

    def __init__(self, app: FastAPI, door: Door) -> None:
        self._app = app
        self._door = door
        self._server: _Server | None = None
        self._running: asyncio.Task[None] | None = None
        self.failed = asyncio.Event()

    @property
    def port(self) -> int:
        """The port that was bound, also where 0 was asked for."""
        return self._door.port

    @property
    def url(self) -> str:
        """Where clients find it."""
        return self._door.url

    async def start(self) -> None:
        """Serve; returns once connections are taken."""
        config = uvicorn.Config(
            self._app,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            ws="none",
            timeout_graceful_shutdown=STOP_TIMEOUT_S,
            timeout_keep_alive=KEEP_ALIVE_S,
        )
        self._server = _Server(config)
        self._running = asyncio.create_task(self._server.serve(sockets=[self._door.bound]), name="rest server")
        self._running.add_done_callback(self._ended)
        await self._server.taking_connections.wait()

    async def stop(self) -> None:
        """Take no more, let what runs finish for a while, and close."""
        if self._server is None or self._running is None:
            return
        self._app.state.streams.stop()
        self._server.should_exit = True
        await asyncio.wait([self._running])

    def _ended(self, running: "asyncio.Task[None]") -> None:
        assert self._server is not None
        if self._server.should_exit:
            return
        reason = None if running.cancelled() else running.exception()
        _log.error("the REST server ended by itself", exc_info=reason)
        for server in self._server.servers:
            server.close()
        self._door.close()
        self.failed.set()


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.taking_connections = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As ever, and say when it is done."""
        await super().startup(sockets)
        self.taking_connections.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield
