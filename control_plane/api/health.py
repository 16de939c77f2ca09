"""Probes and metrics: is the process alive, does it do its work, what does it count."""

import contextlib
from collections.abc import Awaitable, Callable

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from control_plane.api.ports import ApiPorts
from control_plane.api.problems import ProblemError, documented
from control_plane.api.shapes import Live, Ready
from control_plane.errors import AuditUnavailable


def health_routes(ports: ApiPorts, look_again: Callable[[], Awaitable[None]]) -> APIRouter:
    """The routes /health and /metrics. `look_again` is asked before what is counted in the audit store is shown."""
    router = APIRouter(tags=["running it"])

    @router.get("/health/live", summary="Is the process alive?", response_model=Live, responses=documented())
    async def live() -> Live:
        """Answers for as long as the event loop turns."""
        return Live(live=True)

    @router.get("/health/ready", summary="Does the service do its work?", response_model=Ready, responses=documented())
    async def ready() -> Ready:
        """503 with the reasons when it does not."""
        reasons = list(ports.health())
        if reasons:
            raise ProblemError(
                503,
                "not_ready",
                "the service does not do its work: " + "; ".join(reasons),
                "Wait if it has just started; otherwise run: setpoint doctor",
                reasons=reasons,
            )
        return Ready(ready=True)

    @router.get(
        "/metrics",
        summary="Metrics",
        response_class=Response,
        responses={**documented(), 200: {"description": "Prometheus text format.", "content": {"text/plain": {}}}},
    )
    async def metrics() -> Response:
        """Metrics in the text format of Prometheus."""
        with contextlib.suppress(AuditUnavailable):
            # Without the store the last count stands; the other metrics are wanted now more than ever.
            await look_again()
        return Response(generate_latest(ports.metrics), media_type=CONTENT_TYPE_LATEST)

    return router
