"""The warehouse of the orders demo, and the desk of the llm demo: a server that counts what it does.

It is a real HTTP server, and fails when it is told to. It does not know idempotency keys: what it is asked twice it
does twice. The loop's word counts for nothing here.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

HEAD_BYTES_MAX: Final = 16 * 1024
BROKEN_TIMES: Final = 2
TELLS_EVERY_S: Final = 0.4
DONE: Final = {
    "hold_order": "held",
    "expedite_order": "expedited",
    "refund_order": "refunded",
    "route_ticket": "routed",
    "close_ticket": "closed",
    "refund_customer": "refunded",
}
"""What it says has happened when it did something."""

ABOUT: Final = ("orders", "tickets")


@dataclass(frozen=True, slots=True)
class Deed:
    """One thing that it did, under the key that it was asked with."""

    key: str
    order: str
    intent: str

    @property
    def what(self) -> str:
        """What has happened to the order."""
        return DONE[self.intent]


class Warehouse:
    """Listens on one port of this machine. Now and then it tells what it has done so far: all of it, and how often it
    told before."""

    def __init__(self, port: int, tell: Callable[["list[Deed]", int], Awaitable[None]]) -> None:
        self.deeds: list[Deed] = []
        self.failed: dict[str, str] = {}
        """How it failed on each order on which it did; of connections that it refuses it sees nothing."""
        self._port = port
        self._tell = tell
        self._fails: dict[str, tuple[str, int]] = {}
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = asyncio.Event()

    async def open(self) -> None:
        """Take connections, and tell from now on."""
        await self.listen()
        self._spawn(self._tell_on())

    async def _tell_on(self) -> None:
        told = 0
        while True:
            await asyncio.sleep(TELLS_EVERY_S)
            if self.deeds:
                await self._tell(list(self.deeds), told)
                told += 1

    async def close(self) -> None:
        """Take no more, and end what hangs."""
        self._closed.set()
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def fail_on(self, order: str, failure: str) -> None:
        """Fail in this way when it is next asked to do something with an order."""
        self._fails[order] = (failure, BROKEN_TIMES if failure == "broken" else 1)

    def refuse(self) -> None:
        """Take no connection until it listens again."""
        assert self._server is not None, "it is open"
        self._server.close()

    async def listen(self) -> None:
        """Take connections."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port, limit=HEAD_BYTES_MAX)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A client that has gone is nothing that went wrong here.
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            await self._answer(reader, writer)
        writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
        await reader.readexactly(int(headers.get("content-length", 0)))
        method, path, _ = head[0].split(" ", 2)
        parts = path.strip("/").split("/")
        if method == "GET" and parts[0] == "done":
            self._say(writer, 200 if any(deed.key == parts[1] for deed in self.deeds) else 404)
        elif method == "POST" and len(parts) == 3 and parts[0] in ABOUT and parts[2] in DONE:
            await self._asked(Deed(headers.get("idempotency-key", ""), parts[1], parts[2]), writer)
        else:
            self._say(writer, 404)
        await writer.drain()

    async def _asked(self, deed: Deed, writer: asyncio.StreamWriter) -> None:
        failure = self._next_failure(deed.order)
        if failure in ("throttled", "broken"):
            self._say(writer, 429 if failure == "throttled" else 503)
            return
        self.deeds.append(deed)
        if failure == "answer_lost":
            writer.transport.abort()
        elif failure == "hangs":
            await self._closed.wait()
        else:
            self._say(writer, 200)

    def _next_failure(self, order: str) -> str | None:
        failure, left = self._fails.pop(order, ("", 0))
        if not failure:
            return None
        self.failed[order] = failure
        if left > 1:
            self._fails[order] = (failure, left - 1)
        return failure

    def _say(self, writer: asyncio.StreamWriter, status: int) -> None:
        writer.write(f"HTTP/1.1 {status} Said\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())

    def _spawn(self, running: Awaitable[None]) -> None:
        task = asyncio.ensure_future(running)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
