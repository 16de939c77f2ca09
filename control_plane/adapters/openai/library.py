"""The openai SDK, and what it is asked with. Importing this takes seconds: only `tool` does, in a thread.

The SDK speaks the protocol; that it may neither retry, nor follow a redirect, nor read without end, is seen to here.
"""

from collections.abc import AsyncIterator
from typing import Any, Final

import httpx2
import openai

from control_plane.adapters.openai.request import ANSWER_NAME, ModelRequest
from control_plane.ports.journal import ToolFailed

BODY_BYTES_MAX: Final = 1024 * 1024
"""Largest body that is read of an answer, or of an error."""

CONNECT_TIMEOUT_S: Final = 5.0
CONNECTIONS_MAX: Final = 64
NO_KEY: Final = "none"
"""What is sent as a key to a server that wants none: the SDK insists on one."""


class _TooLarge(Exception):
    """The body does not end within its limit, or hides how long it is."""


def new_client(url: str, key: str, transport: httpx2.AsyncBaseTransport | None = None) -> openai.AsyncOpenAI:
    """A client for one server. Raises ToolFailed where the URL is none."""
    transport = transport or httpx2.AsyncHTTPTransport(limits=httpx2.Limits(max_connections=CONNECTIONS_MAX))
    headers = {"Accept-Encoding": "identity"}
    client = httpx2.AsyncClient(transport=_Bounded(transport), trust_env=False, follow_redirects=False, headers=headers)
    try:
        return openai.AsyncOpenAI(api_key=key or NO_KEY, base_url=url, max_retries=0, http_client=client)
    except httpx2.InvalidURL as exc:
        raise ToolFailed("request_invalid", f"{url} is no address: {exc}") from exc


async def ask(client: openai.AsyncOpenAI, request: ModelRequest) -> bytes:
    """The body of the server's answer. Raises ToolFailed with the code of what went wrong."""
    try:
        raw = await (_chat(client, request) if request.api == "chat" else _response(client, request))
    except openai.APITimeoutError as exc:
        raise ToolFailed("timeout", f"{request.url} gave no answer within {request.timeout_s:g} s", None) from exc
    except openai.APIConnectionError as exc:
        raise _not_connected(exc, request.url) from exc
    except openai.APIStatusError as exc:
        raise _refused(exc, request.url) from exc
    except _TooLarge as exc:
        raise ToolFailed("too_large", f"{request.url}: {exc}", None) from exc
    except (ValueError, httpx2.InvalidURL) as exc:
        raise ToolFailed("request_invalid", f"the request cannot be sent to {request.url}: {exc}") from exc
    except (openai.OpenAIError, httpx2.HTTPError) as exc:
        raise ToolFailed("protocol_broken", f"{request.url}: {exc}", None) from exc
    body: bytes = raw.content
    return body


async def rehearse() -> None:
    """Ask nobody, once in each way: the SDK makes most of what it needs when it is first used, and that takes long."""
    said = {"model": "", "messages": [], "answer_schema": {}, "answer_tokens_max": 1, "timeout_s": 1.0}
    async with new_client("http://nobody.invalid", "", httpx2.MockTransport(_said_nothing)) as client:
        for api in ("chat", "responses"):
            await ask(client, ModelRequest(url="http://nobody.invalid", api=api, **said))  # type: ignore[arg-type]


def _said_nothing(_request: httpx2.Request) -> httpx2.Response:
    return httpx2.Response(200, stream=httpx2.ByteStream(b"{}"))


async def _chat(client: openai.AsyncOpenAI, request: ModelRequest) -> Any:
    schema = {"name": ANSWER_NAME, "strict": True, "schema": request.answer_schema}
    create: Any = client.chat.completions.with_raw_response.create
    return await create(
        **_common(request),
        messages=_messages(request),
        max_completion_tokens=request.answer_tokens_max,
        response_format={"type": "json_schema", "json_schema": schema},
    )


async def _response(client: openai.AsyncOpenAI, request: ModelRequest) -> Any:
    schema = {"type": "json_schema", "name": ANSWER_NAME, "strict": True, "schema": request.answer_schema}
    create: Any = client.responses.with_raw_response.create
    return await create(
        **_common(request),
        input=_messages(request),
        max_output_tokens=request.answer_tokens_max,
        text={"format": schema},
        store=False,
    )


def _common(request: ModelRequest) -> dict[str, Any]:
    timeout = httpx2.Timeout(request.timeout_s, connect=min(CONNECT_TIMEOUT_S, request.timeout_s))
    common: dict[str, Any] = {"model": request.model, "timeout": timeout}
    if request.temperature is not None:
        common["temperature"] = request.temperature
    if request.extra:
        common["extra_body"] = request.extra
    return common


def _messages(request: ModelRequest) -> Any:
    return [{"role": message.role, "content": message.content} for message in request.messages]


def _not_connected(exc: openai.APIConnectionError, url: str) -> ToolFailed:
    cause: BaseException | None = exc
    while cause is not None:
        if isinstance(cause, httpx2.ConnectError):
            return ToolFailed("unreachable", f"{url} takes no connection: {cause}")
        cause = cause.__cause__
    return ToolFailed("connection_broken", f"{url} broke the connection off: {exc.__cause__!r}", None)


def _refused(exc: openai.APIStatusError, url: str) -> ToolFailed:
    codes = {401: "not_authorized", 403: "not_authorized", 404: "not_found", 408: "timeout", 429: "rate_limited"}
    status = exc.status_code
    code = codes.get(status, "server_error" if status >= 500 else "request_refused")
    return ToolFailed(code, f"{url} answered {status}: {exc.message}")


class _Bounded(httpx2.AsyncBaseTransport):
    """A transport whose bodies end."""

    def __init__(self, inner: httpx2.AsyncBaseTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response = await self._inner.handle_async_request(request)
        if response.headers.get("content-encoding", "identity") != "identity":
            await response.aclose()
            raise _TooLarge("the answer is compressed, which was not asked for: how large it is cannot be known")
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        response.stream = _BoundedStream(response.stream)
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()


class _BoundedStream(httpx2.AsyncByteStream):
    def __init__(self, inner: httpx2.AsyncByteStream) -> None:
        self._inner = inner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size_bytes = 0
        async for chunk in self._inner:
            size_bytes += len(chunk)
            if size_bytes > BODY_BYTES_MAX:
                raise _TooLarge(f"the answer has more than {BODY_BYTES_MAX} bytes")
            yield chunk

    async def aclose(self) -> None:
        await self._inner.aclose()
