"""The route of webhooks: what others send in their own form becomes events, or dead letters, and is answered.

Answers 202 only once all of it is durable, and 4xx only for what is kept as a dead letter or was never read: a sender
need not send it again. What could not be kept is 503 or 507, and senders try again.
"""

import asyncio
from typing import Final

from fastapi import APIRouter, Request

from control_plane.api.cloudevents import events_in
from control_plane.api.gate import HOOKS, wrong_secret
from control_plane.api.ports import ApiPorts
from control_plane.api.problems import ProblemError, documented, problem_of
from control_plane.api.shapes import Accepted, AcceptedEvents
from control_plane.errors import InvalidMessage
from control_plane.messages import Event
from control_plane.ports.webhooks import Received, Webhook

BODY_TIMEOUT_S: Final = 10.0
BODIES_IN_FLIGHT_MAX: Final = 32
"""Bodies that are read at a time for webhooks: of a signed one nobody knows who sends it before it was read."""
NOT_TAKEN_SHOWN_MAX: Final = 20


def hook_routes(ports: ApiPorts) -> APIRouter:
    """The routes under /hooks."""
    router = APIRouter(prefix=HOOKS, tags=["webhooks"])
    places = asyncio.Semaphore(BODIES_IN_FLIGHT_MAX)

    @router.post(
        "/{name}",
        status_code=202,
        summary="Send to a webhook",
        response_model=AcceptedEvents,
        responses=documented(400, 404, 413, 415, 422, 507),
        openapi_extra={"requestBody": {"required": True, "content": {"application/json": {"schema": {}}}}},
    )
    async def receive(name: str, request: Request) -> AcceptedEvents:
        """What the trigger of this name takes: alerts of Alertmanager or Grafana, CloudEvents, or any JSON. What can be
        taken is, whatever stands beside it; the answer names what was not, and where it is kept."""
        hook = ports.webhooks.get(name)
        if hook is None:
            raise _unknown(name)
        headers = dict(request.headers)
        async with places:
            body = await _read(request, hook)
        if not hook.authentic(headers, body):
            raise wrong_secret()
        received = await hook.receive(headers, await _texts(hook, headers, body))
        if received.not_taken:
            raise _in_part(received)
        return AcceptedEvents(accepted=[_accepted(event) for event in received.accepted])

    return router


async def _read(request: Request, hook: Webhook) -> bytes:
    """The body, as far as the webhook takes it."""
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            async for piece in request.stream():
                body += piece
                if len(body) > hook.body_bytes_max:
                    raise _too_large(hook)
    except TimeoutError:
        raise _too_slow() from None
    return bytes(body)


async def _texts(hook: Webhook, headers: dict[str, str], body: bytes) -> list[bytes]:
    """The JSON texts of a request."""
    if hook.binding == "json":
        return [body]
    try:
        return events_in(headers.items(), body)
    except InvalidMessage as reason:
        await hook.refuse(body, reason)
        raise


def _accepted(event: Event) -> Accepted:
    lineage = event.lineage
    return Accepted(id=lineage.message_id, source=lineage.source, correlation_id=lineage.correlation_id)


def _in_part(received: Received) -> ProblemError:
    """Not all of it could be taken. The first thing that was not says what is wrong."""
    first, taken = received.not_taken[0], len(received.accepted)
    problem = problem_of(first.reason)
    count = len(received.not_taken)
    problem.detail = (
        f"{first.place}: {first.reason.detail}. {count} of {count + taken + received.passed_by} were not taken and are "
        f"kept as dead letters; {taken} were taken. Sending it again changes nothing"
    )
    problem.more = {
        "accepted": [_accepted(event).model_dump() for event in received.accepted],
        "not_taken": [
            {
                "place": found.place,
                "code": found.reason.code,
                "detail": found.reason.detail,
                "field": found.reason.field,
            }
            for found in received.not_taken[:NOT_TAKEN_SHOWN_MAX]
        ],
    }
    return problem


def _unknown(name: str) -> ProblemError:
    return ProblemError(
        404,
        "webhook_not_found",
        f"no trigger of kind webhook is called {name!r}; nothing was taken",
        "Declare it in triggers/ of the workspace, or correct the address.",
    )


def _too_large(hook: Webhook) -> ProblemError:
    return ProblemError(
        413,
        "body_too_large",
        f"the body has more than {hook.body_bytes_max} bytes; nothing of it was taken or kept",
        f"Send less at a time, or raise body_bytes_max of the trigger {hook.name}.",
        headers={"Connection": "close"},
    )


def _too_slow() -> ProblemError:
    return ProblemError(
        503,
        "body_too_slow",
        f"the body did not come within {BODY_TIMEOUT_S:g} s; nothing of it was taken",
        "Send it again, faster.",
        headers={"Connection": "close", "Retry-After": "1"},
    )
