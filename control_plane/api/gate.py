"""The door, before anything is parsed: who may come in, how much they may bring, how many at a time.

Denies by default: a path that is not named as open wants the key, also one that leads nowhere. A webhook with a secret
of its own wants that one, and nothing else. OPA's token opens the paths of OPA, and nothing else.
"""

from collections.abc import Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from control_plane.api import docs
from control_plane.api.bundles import OPA_PATHS
from control_plane.api.keys import ApiKey
from control_plane.api.problems import ProblemError
from control_plane.ports.bundles import Bundles
from control_plane.ports.webhooks import Webhook

HOOKS: Final = "/hooks"
BODY_BYTES_MAX: Final = 4 * 1024 * 1024
REQUESTS_IN_FLIGHT_MAX: Final = 256

_OPEN: Final = frozenset({"/health/live", "/openapi.json"}) | docs.OPEN
_OPEN_ON_LOOPBACK: Final = frozenset({"/health/ready", "/metrics"})


class _BodyTooLarge(Exception):
    """More was sent than was announced or is taken."""


class Gate:
    """An ASGI middleware around the whole app."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        key: ApiKey,
        on_loopback: bool,
        metrics: CollectorRegistry,
        webhooks: Mapping[str, Webhook],
        bundles: Bundles | None = None,
    ) -> None:
        self._app = app
        self._bundles = bundles
        self._key = key
        self._webhooks = webhooks
        self._open = _OPEN | (_OPEN_ON_LOOPBACK if on_loopback else frozenset())
        self._in_flight = 0
        self._refused = Counter(
            "setpoint_http_refused_total", "Requests refused at the door.", ["reason"], registry=metrics
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or answer it here."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        problem = self._objection(scope)
        if problem is not None:
            await self._refuse(problem, scope, receive, send)
            return
        self._in_flight += 1
        try:
            await self._within_limit(scope, receive, send)
        finally:
            self._in_flight -= 1

    def _objection(self, scope: Scope) -> ProblemError | None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        door = self._door(scope["path"])
        if door is not None and not door.admits(headers):
            return wrong_secret()
        if door is None and scope["path"] not in self._open and not self._opens(scope["path"], headers):
            return _unauthorized(headers.get("authorization"))
        if self._in_flight >= REQUESTS_IN_FLIGHT_MAX:
            return _crowded()
        length = headers.get("content-length", "0")
        if length.isdigit() and int(length) > BODY_BYTES_MAX:
            return _body_too_large()
        return None

    def _opens(self, path: str, headers: Mapping[str, str]) -> bool:
        given = headers.get("authorization")
        if self._bundles is not None and path in OPA_PATHS and self._bundles.opens(given):
            return True
        return self._key.opens(given)

    def _door(self, path: str) -> Webhook | None:
        """The webhook with a secret of its own that a path leads to; webhooks come and go."""
        if not path.startswith(f"{HOOKS}/"):
            return None
        hook = self._webhooks.get(path.removeprefix(f"{HOOKS}/"))
        return hook if hook is not None and hook.has_secret else None

    async def _within_limit(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count what really comes: a body need not announce its length."""
        taken, started = 0, False

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > BODY_BYTES_MAX:
                raise _BodyTooLarge
            return message

        async def noting(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, counted, noting)
        except _BodyTooLarge:
            if started:
                raise
            await self._refuse(_body_too_large(), scope, receive, send)

    async def _refuse(self, problem: ProblemError, scope: Scope, receive: Receive, send: Send) -> None:
        self._refused.labels(problem.code).inc()
        await problem.response()(scope, receive, send)


def _unauthorized(given: str | None) -> ProblemError:
    what = "the key is not the right one" if given else "the request carries no key"
    return ProblemError(
        401,
        "unauthorized",
        f"{what}; nothing was done",
        "Send Authorization: Bearer KEY. The key is SETPOINT_API_KEY of the service, or lies in data/api.key of its "
        "workspace.",
        headers={"WWW-Authenticate": "Bearer"},
    )


def wrong_secret() -> ProblemError:
    """A webhook whose own secret was not shown."""
    return ProblemError(
        401,
        "unauthorized",
        "the request does not show the secret of this webhook; nothing was done",
        "Send what `auth` of its definition in triggers/ asks for: the bearer token, or the signature.",
        headers={"WWW-Authenticate": "Bearer"},
    )


def _crowded() -> ProblemError:
    return ProblemError(
        503,
        "too_many_requests_in_flight",
        f"{REQUESTS_IN_FLIGHT_MAX} requests are being served; this one was not begun",
        "Try again, with fewer at a time.",
        headers={"Retry-After": "1"},
    )


def _body_too_large() -> ProblemError:
    return ProblemError(
        413,
        "body_too_large",
        f"the body has more than {BODY_BYTES_MAX} bytes; nothing of it was taken",
        "Send smaller batches; keep large payloads elsewhere and send a reference.",
        headers={"Connection": "close"},
    )
