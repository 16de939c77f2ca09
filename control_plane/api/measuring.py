"""Counts requests by route, method and status. The path itself is never a label: clients choose it."""

import time

from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Measured:
    """An ASGI middleware around the router."""

    def __init__(self, app: ASGIApp, *, metrics: CollectorRegistry) -> None:
        self._app = app
        self._requests = Counter(
            "setpoint_http_requests_total", "Requests answered.", ["method", "route", "status"], registry=metrics
        )
        self._seconds = Histogram(
            "setpoint_http_response_start_seconds",
            "From a request's arrival to the start of its answer.",
            ["method", "route"],
            buckets=_SECONDS,
            registry=metrics,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and count its answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                method, route = _method(scope), _route(scope)
                self._requests.labels(method, route, message["status"]).inc()
                self._seconds.labels(method, route).observe(time.perf_counter() - began)
            await send(message)

        try:
            await self._app(scope, receive, counted)
        except Exception:
            # The framework answers a bug with 500 outside of this middleware; it must be counted all the same.
            self._requests.labels(_method(scope), _route(scope), 500).inc()
            raise


def _route(scope: Scope) -> str:
    return getattr(scope.get("route"), "path", "none")


def _method(scope: Scope) -> str:
    """Also chosen by clients, so only those that routes have."""
    method = scope["method"]
    return method if method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS") else "other"
