"""Carries commands out by HTTP requests. Kind `http`.

What an answer means: 2xx: succeeded. No connection, 429: nothing was done. Other 4xx: failed. Everything else, such as
5xx, a reset or a time-out: unknown; then the `reconcile` request asks.
"""

import hashlib
import hmac
import json
from typing import Any
from urllib.parse import quote, urlsplit

import httpx

from control_plane.executors.http_keys import HttpKeys, ReconcileKeys
from control_plane.executors.templates import ParameterMissing, Template
from control_plane.executors.tools import DefinitionInvalid, ExecutorTools, Gathering, seconds
from control_plane.sdk import (
    Attempt,
    Command,
    Executor,
    ExpressionInvalid,
    ExpressionMiss,
    Expressions,
    Found,
    Program,
)

ANSWER_BYTES_MAX = 64 * 1024
"""How much of an answer is read."""
SAID_CHARS_MAX = 200


class HttpTarget(Executor):
    """One target. Redirects are not followed: a command must not wander."""

    def __init__(self, name: str, keys: HttpKeys, tools: ExecutorTools) -> None:
        self.name = name
        self.attempt_timeout_s = seconds(keys.timeout)
        self.settle_s = seconds(keys.reconcile.settle) if keys.reconcile else 0.0
        self.attempts_max = keys.retry.attempts
        self.backoff_s = seconds(keys.retry.backoff)
        self.concurrency_max = keys.concurrency
        self._keys = keys
        self._headers = dict(keys.request.headers)
        self._key = ""
        self._question: Question | None = None
        self._client: httpx.AsyncClient | None = None
        gathering = Gathering()
        with gathering:
            self._url = _url(keys.request.url, "request.url")
        for header, variable in keys.request.headers_env.items():
            with gathering:
                self._headers[header] = _secret(tools, variable, ("request", "headers_env", header))
        if keys.signature is not None:
            with gathering:
                self._key = _secret(tools, keys.signature.secret_env, "signature.secret_env")
        if keys.reconcile is not None:
            self._question = Question(keys.reconcile, tools.expressions, gathering)
        gathering.end()

    async def start(self) -> None:
        limits = httpx.Limits(max_connections=self.concurrency_max, max_keepalive_connections=self.concurrency_max)
        urls = (self._keys.request.url, self._keys.reconcile.url if self._keys.reconcile else "")
        self._client = httpx.AsyncClient(
            timeout=self.attempt_timeout_s,
            limits=limits,
            trust_env=False,
            # Certificates take 50 ms to load, and over plain HTTP nobody shows us one.
            verify=any(url.startswith("https:") for url in urls),
        )

    async def execute(self, command: Command) -> Attempt:
        try:
            url = self._url.filled(command)
        except ParameterMissing as missing:
            return Attempt(result="failed", detail=str(missing))
        body = _body(self._keys.request.body, command)
        try:
            status, said = await self._send(self._keys.request.method, url, body, self._headers_for(command, body))
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            return Attempt(result="nothing_done", detail=f"no connection: {_words(error)}")
        except httpx.HTTPError as error:
            return Attempt(result="unknown", detail=_words(error))
        return _meaning(status, said)

    async def reconcile(self, command: Command) -> Found:
        if self._question is None:
            return Found(state="unknown", detail=f"executor {self.name} has no reconcile request")
        try:
            url = self._question.url.filled(command)
        except ParameterMissing as missing:
            return Found(state="absent", detail=f"{missing}, so nothing was ever sent")
        try:
            status, said = await self._send(self._question.method, url, b"", self._headers_for(command, b""))
        except httpx.HTTPError as error:
            return Found(state="unknown", detail=f"reconciling: {_words(error)}")
        return self._question.judged(status, said)

    async def stop(self) -> None:
        if self._client is not None:
            await self._client.aclose()

    async def _send(self, method: str, url: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        assert self._client is not None, "start comes first"
        async with self._client.stream(method, url, content=body or None, headers=headers) as response:
            said = b""
            async for piece in response.aiter_bytes():
                said += piece
                if len(said) >= ANSWER_BYTES_MAX:
                    break
            return response.status_code, said[:ANSWER_BYTES_MAX]

    def _headers_for(self, command: Command, body: bytes) -> dict[str, str]:
        headers = {**self._headers, self._keys.idempotency_header: command.lineage.message_id}
        if command.lineage.traceparent:
            headers["traceparent"] = command.lineage.traceparent
        if body:
            headers["Content-Type"] = "application/json"
        if self._keys.signature is not None:
            signed = hmac.new(self._key.encode(), body, hashlib.sha256).hexdigest()
            headers[self._keys.signature.header] = f"sha256={signed}"
        return headers


class Question:
    """The reconcile request, and what its answers mean."""

    def __init__(self, keys: ReconcileKeys, expressions: Expressions, gathering: Gathering) -> None:
        self.method = keys.method
        self._expressions = expressions
        with gathering:
            self.url = _url(keys.url, "reconcile.url")
        with gathering:
            self._done = _condition(keys.done_when, "reconcile.done_when", expressions)
        with gathering:
            self._absent = _condition(keys.absent_when, "reconcile.absent_when", expressions)

    def judged(self, status: int, said: bytes) -> Found:
        """What an answer says."""
        scope = self._expressions.scope({"status": status, "body": _parsed(said)}, (self._done, self._absent))
        done, absent = (_holds(program, scope) for program in (self._done, self._absent))
        if done == absent:
            which = "both conditions" if done else "neither condition"
            return Found(state="unknown", detail=f"reconciling: status {status} meets {which}")
        return Found(state="done" if done else "absent", detail=f"reconciling: status {status}")


def _meaning(status: int, said: bytes) -> Attempt:
    detail = f"status {status}"
    if 200 <= status < 300:
        return Attempt(result="succeeded", detail=detail)
    text = said[: 4 * SAID_CHARS_MAX].decode(errors="replace").strip()[:SAID_CHARS_MAX]
    detail = f"{detail}: {text}" if text else detail
    if status == 429:
        return Attempt(result="nothing_done", detail=detail)
    return Attempt(result="failed" if 400 <= status < 500 else "unknown", detail=detail)


def _body(kind: str, command: Command) -> bytes:
    if kind == "none":
        return b""
    told: dict[str, Any] = command.parameters
    if kind == "command":
        told = {
            "command_id": command.lineage.message_id,
            "correlation_id": command.lineage.correlation_id,
            "intent": command.intent,
            "subject": command.subject,
            "parameters": command.parameters,
            "deadline_ms": command.deadline_ms,
        }
    return json.dumps(told, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()


def _url(text: str, place: str) -> Template:
    try:
        address = urlsplit(text)
    except ValueError as invalid:
        raise DefinitionInvalid(place, f"{text!r} is no URL: {invalid}", "Write http://host:port/path.") from invalid
    if "{" in address.netloc or "@" in address.netloc:
        raise DefinitionInvalid(place, "who is called must not depend on the command", "Write the host out, no user.")
    return Template(text, place=place, quote=lambda value: quote(value, safe=""))


def _secret(tools: ExecutorTools, variable: str, place: str | tuple[str, ...]) -> str:
    value = tools.environ.get(variable, "")
    if not value:
        problem, cure = f"the environment has no {variable}", f"Set {variable} before the start."
        raise DefinitionInvalid(place, problem, cure, of_environment=True)
    return value


def _condition(text: str, place: str, expressions: Expressions) -> Program:
    try:
        program = expressions.compile(text)
    except ExpressionInvalid as invalid:
        raise DefinitionInvalid(
            place, f"{text!r} is no expression: {invalid}", "Write CEL over status and body."
        ) from invalid
    unknown = sorted(program.reads - {"status", "body"})
    if unknown:
        raise DefinitionInvalid(place, f"{unknown[0]} is not known here", "Known: status, body.")
    return program


def _holds(program: Program, scope: Any) -> bool:
    try:
        return program.evaluate(scope) is True
    except ExpressionMiss:
        return False


def _parsed(said: bytes) -> Any:
    """JSON as a value, anything else as text."""
    try:
        return json.loads(said)
    except (ValueError, RecursionError):
        return said.decode(errors="replace")


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
