"""Who may send to a webhook: a bearer token, or an HMAC over the body. Compared in constant time, never logged."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Mapping
from typing import Annotated, Final, Literal

from msgspec import Meta

from control_plane.catalogue.definitions import Duration
from control_plane.durations import parse_duration_ms
from control_plane.triggers.tools import Declared, Keys, TriggerTools, VariableName
from control_plane.workspace.examined import Problem

SECRET_CHARS_MIN: Final = 16

HeaderName = Annotated[
    str, Meta(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$", max_length=100, description="a header's name.")
]
_HASHES: Final[Mapping[str, Callable[[], "hashlib._Hash"]]] = {
    "hmac-sha256": hashlib.sha256,
    "hmac-sha512": hashlib.sha512,
}


class HmacKeys(Keys, frozen=True):
    """A signature over the body. With `timestamp_header`, over the time in seconds, a colon and the body, as Grafana
    signs; then a request that is older than `tolerance` is not believed."""

    secret_env: VariableName
    header: HeaderName
    algorithm: Literal["hmac-sha256", "hmac-sha512"] = "hmac-sha256"
    encoding: Literal["hex", "base64"] = "hex"
    timestamp_header: HeaderName | None = None
    tolerance: Duration = "5m"


class AuthKeys(Keys, frozen=True):
    """`auth:` of a webhook: one of the two."""

    bearer_env: VariableName | None = None
    hmac: HmacKeys | None = None


def auth_problems(keys: AuthKeys | None) -> tuple[Problem, ...]:
    """What is wrong in `auth`."""
    if keys is None or (keys.bearer_env is None) != (keys.hmac is None):
        return ()
    says = "nothing" if keys.hmac is None else "bearer_env and hmac"
    return (Problem(path=("auth",), problem=f"auth says {says}", cure="Write bearer_env, or hmac: one of them."),)


class Door:
    """What a webhook asks of a request. This one leaves it to the key of the service, which was asked before."""

    has_secret = False

    def admits(self, _headers: Mapping[str, str]) -> bool:
        """Whether the body is worth reading."""
        return True

    def authentic(self, _headers: Mapping[str, str], _body: bytes) -> bool:
        """Whether the sender knows the secret."""
        return True


class BearerDoor(Door):
    """`Authorization: Bearer TOKEN`."""

    has_secret = True

    def __init__(self, secret: str) -> None:
        self._digest = hashlib.sha256(secret.encode()).digest()

    def admits(self, headers: Mapping[str, str]) -> bool:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        presented = hashlib.sha256(token.strip().encode(errors="surrogateescape")).digest()
        return hmac.compare_digest(presented, self._digest) and scheme.lower() == "bearer"

    def authentic(self, headers: Mapping[str, str], _body: bytes) -> bool:
        return self.admits(headers)


class HmacDoor(Door):
    """A signature in a header, alone or behind `sha256=`."""

    has_secret = True

    def __init__(self, keys: HmacKeys, secret: str, now_ms: Callable[[], int]) -> None:
        self._header = keys.header.lower()
        self._timestamp_header = (keys.timestamp_header or "").lower()
        self._tolerance_ms = parse_duration_ms(keys.tolerance)
        self._decode = _from_hex if keys.encoding == "hex" else _from_base64
        self._prefix = keys.algorithm.removeprefix("hmac-") + "="
        self._hash = _HASHES[keys.algorithm]
        self._secret = secret.encode()
        self._now_ms = now_ms

    def admits(self, headers: Mapping[str, str]) -> bool:
        return self._header in headers and self._is_fresh(headers)

    def authentic(self, headers: Mapping[str, str], body: bytes) -> bool:
        presented = self._decode(headers.get(self._header, "").strip().removeprefix(self._prefix))
        return hmac.compare_digest(presented, self._signature(headers, body)) and self._is_fresh(headers)

    def _signature(self, headers: Mapping[str, str], body: bytes) -> bytes:
        signed = hmac.new(self._secret, digestmod=self._hash)
        if self._timestamp_header:
            signed.update(headers.get(self._timestamp_header, "").encode(errors="surrogateescape") + b":")
        signed.update(body)
        return signed.digest()

    def _is_fresh(self, headers: Mapping[str, str]) -> bool:
        if not self._timestamp_header:
            return True
        said = headers.get(self._timestamp_header, "")
        return said.isascii() and said.isdigit() and abs(self._now_ms() - int(said[:15]) * 1000) <= self._tolerance_ms


def door_for(declared: Declared, keys: AuthKeys | None, tools: TriggerTools) -> Door:
    """The door that a definition asks for. Raises InvalidWorkspace when its secret is not there."""
    if keys is None:
        return Door()
    if keys.hmac is not None:
        secret = declared.secret(tools, keys.hmac.secret_env, SECRET_CHARS_MIN)
        return HmacDoor(keys.hmac, secret, tools.clock.now_ms)
    assert keys.bearer_env is not None, "the shape was checked: auth says one of the two"
    return BearerDoor(declared.secret(tools, keys.bearer_env, SECRET_CHARS_MIN))


def _from_hex(text: str) -> bytes:
    """The bytes, or none where it is no hex: nothing compares equal to none."""
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""


def _from_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
