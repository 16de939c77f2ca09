"""The tool `openai` (`ports.journal.Tool`): one question to one server. Decides nothing, retries nothing."""

import asyncio
import os
from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final

import msgspec

from control_plane.adapters.openai.bodies import chat_answer, response_answer
from control_plane.adapters.openai.request import ModelRequest
from control_plane.causality import digest
from control_plane.ports.journal import Answer, ToolFailed

CLIENTS_MAX: Final = 16
"""Servers, with a key each, to which connections are kept."""


class OpenAiTool:
    """Asks models over HTTP. Belongs to one event loop."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        """`environ` is where keys are looked up; by default this process's."""
        self._environ = os.environ if environ is None else environ
        self._clients: dict[str, asyncio.Future[Any]] = {}
        self._loading: asyncio.Future[Any] | None = None

    async def warm(self) -> None:
        """Load the SDK, in a thread: it takes seconds."""
        await self._library()

    async def invoke(self, request: Mapping[str, Any]) -> Answer:
        """Ask. Raises ToolFailed."""
        try:
            asked = msgspec.convert(request, ModelRequest)
        except msgspec.ValidationError as exc:
            raise ToolFailed("request_invalid", f"nobody was asked: {exc}") from exc
        key = self._key(asked)
        library = await self._library()
        try:
            body = await library.ask(await self._client(library, asked.url, key), asked)
        except ToolFailed as exc:
            # What a server says of a key that it does not like may hold it, and ends on the log.
            detail = exc.detail.replace(key, "(the key)") if key else exc.detail
            raise ToolFailed(exc.code, detail, exc.usage) from None
        return (chat_answer if asked.api == "chat" else response_answer)(body, asked.prices)

    async def close(self) -> None:
        """Close all connections."""
        clients, self._clients = list(self._clients.values()), {}
        for client in clients:
            await (await client).close()

    def _key(self, asked: ModelRequest) -> str:
        if not asked.key_env:
            return ""
        key = self._environ.get(asked.key_env, "")
        if not key:
            raise ToolFailed("key_missing", f"the environment has no {asked.key_env}; nobody was asked")
        if not (key.isascii() and key.isprintable()):
            # Said here, because whoever else finds it says what it is.
            raise ToolFailed("key_invalid", f"what {asked.key_env} holds is no key; nobody was asked")
        return key

    async def _client(self, library: Any, url: str, key: str) -> Any:
        """The client of a server. Whoever comes while it is made waits for the same one: it takes long."""
        name = digest(url, key)
        if name not in self._clients:
            while len(self._clients) >= CLIENTS_MAX:
                await (await self._clients.pop(next(iter(self._clients)))).close()
            making = asyncio.to_thread(library.new_client, url, key)
            self._clients.setdefault(name, asyncio.ensure_future(making))
        try:
            return await asyncio.shield(self._clients[name])
        except ToolFailed:
            self._clients.pop(name, None)
            raise

    async def _library(self) -> Any:
        if self._loading is None:
            self._loading = asyncio.ensure_future(asyncio.to_thread(_load))
        return await asyncio.shield(self._loading)


def _load() -> Any:
    library = import_module("control_plane.adapters.openai.library")
    asyncio.run(library.rehearse())
    return library
