"""Routes for events: in as CloudEvents, out as lists and as a stream."""

from collections.abc import AsyncIterator
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent

from control_plane.api import reading
from control_plane.api.admission import admit_all
from control_plane.api.cloudevents import BATCH, STRUCTURED, events_in
from control_plane.api.paging import FILTER_CHARS_MAX, SEQUENCE_MAX, Paged, page_of
from control_plane.api.ports import ApiPorts
from control_plane.api.problems import ProblemError, documented
from control_plane.api.reading import Reader
from control_plane.api.shapes import Accepted, AcceptedEvents, EventList
from control_plane.api.streaming import Streams
from control_plane.messages import topics
from control_plane.ports.backbone import Output

_EVENT_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["specversion", "id", "source", "type", "subject"],
    "properties": {
        "specversion": {"const": "1.0"},
        "id": {"type": "string", "minLength": 1},
        "source": {"type": "string", "minLength": 1},
        "type": {"type": "string", "minLength": 1, "description": "A type that the workspace declares."},
        "subject": {"type": "string", "pattern": "^[^/]+/.+$", "description": "kind/name, as in service/web-1."},
        "time": {"type": "string", "format": "date-time"},
        "data": {"type": "object"},
    },
}
_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            STRUCTURED: {"schema": _EVENT_SCHEMA},
            BATCH: {"schema": {"type": "array", "items": _EVENT_SCHEMA}},
            "application/json": {
                "schema": {"type": "object", "description": "The data; everything else in ce- headers."}
            },
        },
    }
}
_Filter = Query(max_length=FILTER_CHARS_MAX)


def event_routes(ports: ApiPorts, reader: Reader, streams: Streams) -> APIRouter:
    """The routes under /v1/events."""
    router = APIRouter(prefix="/v1/events", tags=["events"])

    @router.post(
        "",
        status_code=202,
        summary="Send events",
        response_model=AcceptedEvents,
        responses=documented(400, 413, 415, 422, 507),
        openapi_extra=_BODY,
    )
    async def send(request: Request) -> AcceptedEvents:
        """CloudEvents in structured, batch or binary mode; answered once all of them are durable. One that is wrong
        refuses them all. The same (source, id) again is accepted again and folded once."""
        raws = events_in(request.headers.items(), await request.body())
        controls = ports.controls()
        if controls is None:
            raise _not_yet()
        events = admit_all(raws, ports.now_ms(), controls)
        if events:
            pairs = zip(events, raws, strict=True)
            await ports.append([Output(topics.EVENTS, event.subject.encode(), raw) for event, raw in pairs])
        lineages = [event.lineage for event in events]
        return AcceptedEvents(
            accepted=[Accepted(id=x.message_id, source=x.source, correlation_id=x.correlation_id) for x in lineages]
        )

    @router.get("", summary="List events", response_model=EventList, responses=documented(422))
    async def listed(
        paging: Paged,
        type: Annotated[str | None, _Filter] = None,
        subject: Annotated[str | None, _Filter] = None,
    ) -> EventList:
        """Events as they were recorded, outcomes that came back among them."""
        found, after = await page_of(ports.audit, paging, topic=topics.EVENTS, type=type, subject=subject)
        return EventList(items=reader.each(found, reading.event), next_after=after)

    @router.get(
        "/stream",
        summary="Follow events",
        response_class=EventSourceResponse,
        responses=documented(422),
        dependencies=[Depends(streams.place)],
    )
    async def stream(
        type: Annotated[str | None, _Filter] = None,
        subject: Annotated[str | None, _Filter] = None,
        after: Annotated[int | None, Query(ge=0, le=SEQUENCE_MAX, description="As Last-Event-ID; that wins.")] = None,
        last_event_id: Annotated[int | None, Header(ge=0, le=SEQUENCE_MAX)] = None,
    ) -> AsyncIterator[ServerSentEvent]:
        """Each event as one server-sent event, once it is recorded: its data is the CloudEvent, its id the sequence.
        Begins after `Last-Event-ID`, or else with what comes from now on."""
        begin = after if last_event_id is None else last_event_id
        async for sent in streams.events(begin, type=type, subject=subject):
            yield sent

    return router


def _not_yet() -> ProblemError:
    return ProblemError(
        503,
        "no_controls",
        "no workspace is in force yet, so events cannot be judged; nothing was taken",
        "Try again; see GET /health/ready.",
        headers={"Retry-After": "1"},
    )
