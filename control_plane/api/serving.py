"""The HTTP server inside our own event loop. Signals are the process's affair, not the server's."""

import asyncio
import contextlib
import errno
import logging
import socket
from collections.abc import Iterator
from typing import Final

import uvicorn
from fastapi import FastAPI

from control_plane.errors import InvalidSettings

STOP_TIMEOUT_S: Final = 3
"""How long a request may go on after the server was told to stop."""

KEEP_ALIVE_S: Final = 30
BACKLOG_CONNECTIONS: Final = 256

_log = logging.getLogger(__name__)


class RestServer:
    """One app on one address. `failed` is set when the server ends without being told to."""

    def __init__(self, app: FastAPI, *, host: str, port: int) -> None:
        self._app = app
        self._host = host
        self._port = port
        self._server: _Server | None = None
        self._running: asyncio.Task[None] | None = None
        self.failed = asyncio.Event()

    @property
    def port(self) -> int:
        """The port that was bound, also where 0 was asked for."""
        return self._port

    @property
    def url(self) -> str:
        """Where clients find it."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    async def start(self) -> None:
        """Bind and serve; returns once connections are taken. Raises InvalidSettings when the address cannot be had."""
        bound = _bound(self._host, self._port)
        self._port = bound.getsockname()[1]
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
        self._running = asyncio.create_task(self._server.serve(sockets=[bound]), name="rest server")
        self._running.add_done_callback(lambda running: self._ended(running, bound))
        await self._server.taking_connections.wait()

    async def stop(self) -> None:
        """Take no more, let what runs finish for a while, and close."""
        if self._server is None or self._running is None:
            return
        self._app.state.streams.stop()
        self._server.should_exit = True
        await asyncio.wait([self._running])

    def _ended(self, running: "asyncio.Task[None]", bound: socket.socket) -> None:
        assert self._server is not None
        if self._server.should_exit:
            return
        reason = None if running.cancelled() else running.exception()
        _log.error("the REST server ended by itself", exc_info=reason)
        for server in self._server.servers:
            server.close()
        bound.close()
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


def _bound(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as exc:
        raise InvalidSettings(
            f"listen: {host!r} is no address of this machine ({exc.strerror}). Nothing was started. "
            "Write host:port, as in 127.0.0.1:7070."
        ) from exc
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(BACKLOG_CONNECTIONS)
        bound.setblocking(False)
    except OSError as exc:
        bound.close()
        raise InvalidSettings(_why_not(host, port, exc)) from exc
    return bound


def _why_not(host: str, port: int, exc: OSError) -> str:
    if exc.errno == errno.EADDRINUSE:
        return (
            f"listen: port {port} on {host} is in use by another process. Nothing was started. "
            "Stop that one, or choose another port: --listen 127.0.0.1:7071"
        )
    return (
        f"listen: {host}:{port} cannot be bound ({exc.strerror}). Nothing was started. "
        "Choose an address of this machine and a port above 1023."
    )
