"""An HTTP server that fails in every way of the table, counts effects by itself and does not deduplicate."""

import asyncio
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass, field

PATIENCE_S = 10.0


@dataclass(frozen=True, kw_only=True)
class Request:
    """What arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def key(self) -> str:
        """The idempotency key."""
        return self.headers.get("idempotency-key", "")


@dataclass
class HttpServer:
    """`mode` is a status or `hang`, `reset`, `act_and_reset`, `garbage`, `endless`. 2xx and `act_` have effects."""

    mode: str = "200"
    text: str = ""
    port: int = 0
    requests: list[Request] = field(default_factory=list)
    effects: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()

    async def start(self) -> None:
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close everything."""
        assert self._server is not None
        self._server.close()
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def arrived(self, count: int) -> None:
        """Wait for so many requests."""
        await self._until(lambda: len(self.requests) >= count)

    async def deserted(self) -> None:
        """Wait until nobody is connected any more."""
        await self._until(lambda: not self._open)

    async def _until(self, condition) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                while await self._serve(reader, writer):
                    pass
        finally:
            self._open.discard(task)
            self._changed.set()
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        method, path, _ = head[0].split(" ")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        request = Request(method=method, path=path, headers=headers, body=body)
        self.requests.append(request)
        self._changed.set()
        if self.mode.startswith("act_") or (self.mode.startswith("2") and method != "GET"):
            self.effects.append(request.key)
        if self.mode == "hang":
            await reader.read()  # Until the other side gives up.
            return False
        if self.mode.endswith("reset"):
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            return False
        if self.mode == "garbage":
            writer.write(b"this is no HTTP\r\n\r\n")
            await writer.drain()
            return False
        if self.mode == "endless":
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            while True:
                writer.write(b"2000\r\n" + b"x" * 0x2000 + b"\r\n")
                await writer.drain()
        writer.write(self._answer(request))
        await writer.drain()
        return True

    def _answer(self, request: Request) -> bytes:
        status = self.mode
        if request.method == "GET" and self.mode.startswith("2"):
            status = "200" if request.path.rpartition("/")[2] in self.effects else "404"
        text = self.text.encode()
        return f"HTTP/1.1 {status} Said\r\nContent-Length: {len(text)}\r\n\r\n".encode() + text
