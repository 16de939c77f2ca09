"""A server on this machine that plays recorded answers of a language model. No model is asked, and it says so.

It speaks as much of the protocol as the demo needs: chat completions, one per connection. Some letters it leaves
without an answer.
"""

import asyncio
import contextlib
import json
from collections.abc import Sequence
from importlib.resources import files
from typing import Any, Final

import msgspec
from msgspec import Struct

NAME: Final = "recorded-answers"
"""How the model is called, and how the server calls itself."""

HEAD_BYTES_MAX: Final = 16 * 1024
BODY_BYTES_MAX: Final = 1024 * 1024


class Recorded(Struct, frozen=True, kw_only=True):
    """What was answered to a letter that holds these words; `tokens` are those in and out."""

    letter: str
    says: str = ""
    tokens: tuple[int, int] = (0, 0)
    hangs: bool = False


def recorded_answers() -> tuple[Recorded, ...]:
    """Those that come with the demo."""
    text = files("control_plane.demo").joinpath("llm_answers.json").read_text(encoding="utf-8")
    return msgspec.json.decode(text, type=tuple[Recorded, ...])


class RecordedModel:
    """Listens on one port. `asked` are the letters that it was asked about, in order."""

    def __init__(self, port: int, answers: Sequence[Recorded]) -> None:
        self.asked: list[str] = []
        self._port = port
        self._answers = answers
        self._server: asyncio.Server | None = None
        self._closed = asyncio.Event()
        self._serving: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """Where the protocol is spoken."""
        return f"http://127.0.0.1:{self._port}/v1"

    async def open(self) -> None:
        """Take connections."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port, limit=HEAD_BYTES_MAX)

    async def close(self) -> None:
        """Take no more, and let go of those that hang."""
        self._closed.set()
        if self._server is not None:
            self._server.close()
        await asyncio.gather(*self._serving)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None, "a connection is served in a task"
        self._serving.add(task)
        # A client that has gone is nothing that went wrong here.
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            await self._answer(reader, writer)
        self._serving.discard(task)
        writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
        raw = await reader.readexactly(min(int(headers.get("content-length", 0)), BODY_BYTES_MAX))
        question = str(msgspec.json.decode(raw)["messages"][-1]["content"])
        found = next((answer for answer in self._answers if answer.letter in question), None)
        self.asked.append(found.letter if found is not None else question)
        if found is None:
            self._say(writer, 404, {"error": {"message": f"{NAME} holds no answer to this letter"}})
        elif found.hangs:
            await self._closed.wait()
        else:
            self._say(writer, 200, _completion(found))
        await writer.drain()

    def _say(self, writer: asyncio.StreamWriter, status: int, body: dict[str, Any]) -> None:
        raw = json.dumps(body).encode()
        head = f"HTTP/1.1 {status} Said\r\nServer: {NAME}\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Content-Length: {len(raw)}\r\nConnection: close\r\n\r\n".encode() + raw)


def _completion(found: Recorded) -> dict[str, Any]:
    tokens_in, tokens_out = found.tokens
    message = {"role": "assistant", "content": found.says, "refusal": None}
    return {
        "id": "recorded",
        "object": "chat.completion",
        "created": 0,
        "model": NAME,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": tokens_in, "completion_tokens": tokens_out, "total_tokens": tokens_in + tokens_out},
    }
