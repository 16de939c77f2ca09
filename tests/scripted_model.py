"""A local server that speaks the protocol of language models and does what its script says, faults included.

Bytes go out as they are written here: no HTTP library stands between a fault and who must bear it.
"""

import asyncio
import contextlib
import json
from collections.abc import Callable
from typing import Any

Reply = Callable[["Exchange"], Any]
"""Awaited; writes what it likes to the exchange."""


class Exchange:
    """One request, and the connection that it came by."""

    def __init__(self, path: str, body: dict[str, Any], writer: asyncio.StreamWriter, closing: asyncio.Event) -> None:
        self.path = path
        self.body = body
        self.closing = closing
        self._writer = writer

    async def send(self, status: int, body: bytes, *headers: str) -> None:
        """A whole response."""
        await self.begin(status, f"Content-Length: {len(body)}", *headers)
        await self.write(body)

    async def begin(self, status: int, *headers: str) -> None:
        """The head of a response."""
        head = [f"HTTP/1.1 {status} Scripted", "Content-Type: application/json", "Connection: close", *headers]
        await self.write("\r\n".join([*head, "", ""]).encode())

    async def write(self, raw: bytes) -> None:
        self._writer.write(raw)
        with contextlib.suppress(ConnectionError):
            await self._writer.drain()

    def reset(self) -> None:
        """Break the connection off."""
        self._writer.transport.abort()


class ScriptedModel:
    """The server. `asked` holds the body of each request, in order."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.url = ""
        self._server: asyncio.Server | None = None
        self._closing = asyncio.Event()
        self._serving: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "ScriptedModel":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self._closing.set()
        await asyncio.gather(*self._serving)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            await self._exchange(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # The client has left, as it may.
        finally:
            self._serving.discard(task)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
        body = json.loads(await reader.readexactly(int(headers.get("content-length", "0"))))
        self.asked.append(body)
        self.keys.append(headers.get("authorization", ""))
        await self.reply(Exchange(head[0].split(" ")[1], body, writer, self._closing))


def completion(
    content: str | None, *, finish_reason: str = "stop", refusal: str | None = None, usage: Any = (100, 20)
) -> bytes:
    """The body of a chat completion."""
    message = {"role": "assistant", "content": content, "refusal": refusal}
    counted = {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage)} if usage else None
    return json.dumps(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 0,
            "model": "scripted",
            "choices": [{"index": 0, "message": message, "finish_reason": finish_reason}],
            "usage": counted,
        }
    ).encode()


def response(text: str, *, status: str = "completed", usage: tuple[int, int] = (100, 20), **further: Any) -> bytes:
    """The body of a response."""
    part = {"type": "output_text", "text": text, "annotations": []}
    return json.dumps(
        {
            "id": "resp_1",
            "object": "response",
            "status": status,
            "model": "scripted",
            "output": [{"type": "reasoning"}, {"type": "message", "role": "assistant", "content": [part]}],
            "usage": {"input_tokens": usage[0], "output_tokens": usage[1]},
            **further,
        }
    ).encode()


def decision(intent: str = "restart_service", parameters: Any = None, **further: Any) -> str:
    """The text of a well-formed answer."""
    said = {"intent": intent, "because": "it is slow", **further}
    if intent != "none":
        said = {"parameters": parameters or {}, "confidence": 0.8, **said}
    return json.dumps({"decision": said})


def says(content: str | None, **further: Any) -> Reply:
    """Answers with a completion."""

    async def reply(exchange: Exchange) -> None:
        await exchange.send(200, completion(content, **further))

    return reply


def answers(status: int, body: bytes = b'{"error":{"message":"scripted"}}', *headers: str) -> Reply:
    """Answers with a status."""

    async def reply(exchange: Exchange) -> None:
        await exchange.send(status, body, *headers)

    return reply


async def hangs(exchange: Exchange) -> None:
    """Never answers."""
    await exchange.closing.wait()


async def hangs_in_between(exchange: Exchange) -> None:
    """Begins to answer, and never ends."""
    await exchange.begin(200, "Content-Length: 1000")
    await exchange.write(b'{"choices": [')
    await exchange.closing.wait()


async def breaks_off(exchange: Exchange) -> None:
    """Begins to answer, and breaks the connection."""
    await exchange.begin(200, "Content-Length: 1000")
    await exchange.write(b'{"choices": [')
    exchange.reset()


async def resets(exchange: Exchange) -> None:
    """Breaks the connection at once."""
    exchange.reset()


async def never_ends(exchange: Exchange) -> None:
    """Answers more than anybody can take."""
    await exchange.begin(200)
    for _ in range(64):
        await exchange.write(b" " * 65_536)
