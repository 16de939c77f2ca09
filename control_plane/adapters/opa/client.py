"""One OPA, asked: one request out, one answer in, or why there is none. Judges nothing, retries nothing."""

from typing import Any, Final, Literal

import aiohttp
import msgspec
from opa_client.opa_async import AsyncOpaClient
from yarl import URL

from control_plane.adapters.opa.address import OpaAddress
from control_plane.adapters.regorus.weighing import Found

IN_FLIGHT_MAX: Final = 16
"""Questions that one process puts to OPA at a time."""

ANSWER_BYTES_MAX: Final = 1024 * 1024
DETAIL_CHARS_MAX: Final = 300
_QUERY: Final = "provenance=true&strict-builtin-errors=true"

Cause = Literal["down", "slow", "cut", "status", "garbage"]


class Fault(Exception):
    """OPA gave no answer that is one. `cause` is for metrics."""

    def __init__(self, cause: Cause, detail: str) -> None:
        super().__init__(detail)
        self.cause = cause


class EvaluationFailed(Exception):
    """OPA answered that the policies ended in an error: `file:row: message`."""


class RulingFound(msgspec.Struct):
    """What the rule `ruling` of a revision gives."""

    revision: str
    found: Found


class _BundleRevision(msgspec.Struct):
    revision: str = ""


class _Provenance(msgspec.Struct):
    bundles: dict[str, _BundleRevision] = {}


class Answer(msgspec.Struct):
    """OPA's answer. Without `result` the rule is not there; the bundle's revision is empty where OPA has none."""

    result: RulingFound | None = None
    provenance: _Provenance = msgspec.field(default_factory=_Provenance)

    def bundle(self, name: str) -> str:
        """The revision of a bundle that OPA runs."""
        found = self.provenance.bundles.get(name)
        return found.revision if found else ""


class _Location(msgspec.Struct):
    file: str = ""
    row: int = 0


class _EvaluationError(msgspec.Struct):
    code: str = ""
    message: str = ""
    location: _Location = msgspec.field(default_factory=_Location)


class _Failure(msgspec.Struct):
    errors: list[_EvaluationError] = []


_encode = msgspec.json.Encoder().encode
_answer = msgspec.json.Decoder(Answer).decode
_failure = msgspec.json.Decoder(_Failure).decode


class OpaClient(AsyncOpaClient):  # type: ignore[misc]  # it ships no types
    """opa-python-client with a bounded pool, unix sockets, and every way to fail as one of two errors.

    Belongs to the event loop on which it is opened. The caller sets the deadline: this one waits.
    """

    def __init__(self, address: OpaAddress) -> None:
        super().__init__(host=address.host, port=address.port, ssl=address.tls, retries=0, timeout=None)
        self._address = address

    async def _init_session(self) -> None:
        limits: dict[str, Any] = {"limit": IN_FLIGHT_MAX + 1}  # One more, for the probe.
        path = self._address.socket
        self._connector = aiohttp.UnixConnector(path, **limits) if path else aiohttp.TCPConnector(**limits)
        self._session = aiohttp.ClientSession(
            connector=self._connector,
            timeout=aiohttp.ClientTimeout(total=self.timeout),
            json_serialize=lambda value: _encode(value).decode(),
            headers={"Accept-Encoding": "identity"},
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    def url_of(self, path: str) -> URL:
        """Where a rule is asked for; made once per rule."""
        return URL(f"{self.root_url}/data/{path}?{_QUERY}", encoded=True)

    async def ask(self, url: URL, given: bytes) -> Answer:
        """The answer on an input. Raises Fault or EvaluationFailed."""
        try:
            async with self._request("POST", url, json={"input": msgspec.Raw(given)}) as response:
                status, body = response.status, await _read(response)
        except (aiohttp.ClientConnectorError, aiohttp.InvalidURL) as exc:
            raise Fault("down", f"cannot be reached ({_said(exc)})") from exc
        except (aiohttp.ClientError, OSError, ValueError) as exc:
            # The library lets through what its transport raises: connections reset, bad headers, bad chunks.
            raise Fault("cut", f"cut the answer off ({_said(exc)})") from exc
        if status != 200:
            raise _why(status, body)
        try:
            return _answer(body)
        except msgspec.MsgspecError as exc:
            raise Fault("garbage", f"answered what is no ruling ({exc})") from exc


async def _read(response: aiohttp.ClientResponse) -> bytes:
    body = b""
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > ANSWER_BYTES_MAX:
            response.close()
            raise Fault("garbage", f"answered more than {ANSWER_BYTES_MAX} bytes")
    return body


def _why(status: int, body: bytes) -> Exception:
    try:
        errors = _failure(body).errors if status == 500 else []
    except msgspec.MsgspecError:
        errors = []
    if not errors:
        return Fault("status", f"answered {status}")
    first = errors[0]
    place = f"{first.location.file}:{first.location.row}: " if first.location.file else ""
    return EvaluationFailed(f"{place}{first.message.splitlines()[0] if first.message else first.code}")


def _said(exc: BaseException) -> str:
    return (str(exc) or type(exc).__name__)[:DETAIL_CHARS_MAX]
