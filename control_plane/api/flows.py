"""Routes that show messages of every kind together: a flow, a subject, the dead letters."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request, Response

from control_plane.api import reading, shapes
from control_plane.api.paging import FILTER_CHARS_MAX, Paging, link_next, page_of, paging
from control_plane.api.ports import ApiPorts
from control_plane.api.problems import ProblemError, documented
from control_plane.api.reading import Reader
from control_plane.messages import topics

_Paging = Annotated[Paging, Depends(paging)]


def flow_routes(ports: ApiPorts, reader: Reader) -> APIRouter:
    """The routes for flows, subjects and dead letters."""
    router = APIRouter(prefix="/v1", tags=["flows"])

    @router.get(
        "/flows/{correlation_id}",
        summary="Show a flow",
        response_model=shapes.MessageList,
        responses=documented(404, 422),
    )
    async def flow(
        request: Request,
        response: Response,
        correlation_id: Annotated[str, Path(max_length=FILTER_CHARS_MAX)],
        paging: _Paging,
    ) -> shapes.MessageList:
        """Everything that followed from one root event. `causation_id` tells what follows from what."""
        found, after = await page_of(ports.audit, paging, correlation_id=correlation_id)
        if not found and not paging.after:
            raise ProblemError.not_found("flow", correlation_id, "/v1/events")
        link_next(request, response, after)
        return shapes.MessageList(items=reader.each(found, reading.message), next_after=after)

    @router.get(
        "/subjects/{subject:path}",
        summary="Show a subject",
        response_model=shapes.MessageList,
        responses=documented(404, 422),
    )
    async def subject(
        request: Request,
        response: Response,
        subject: Annotated[str, Path(max_length=FILTER_CHARS_MAX, description="kind/name")],
        paging: _Paging,
    ) -> shapes.MessageList:
        """Every message about one subject, as the audit store holds them."""
        found, after = await page_of(ports.audit, paging, subject=subject)
        if not found and not paging.after:
            raise ProblemError.not_found("subject", subject, "/v1/events")
        link_next(request, response, after)
        return shapes.MessageList(items=reader.each(found, reading.message), next_after=after)

    @router.get(
        "/dead-letters",
        summary="List dead letters",
        response_model=shapes.DeadLetterList,
        responses=documented(422),
        tags=["dead letters"],
    )
    async def dead_letters(request: Request, response: Response, paging: _Paging) -> shapes.DeadLetterList:
        """What could not be processed: where it stands, why, and what to change."""
        found, after = await page_of(ports.audit, paging, topic=topics.DEAD_LETTERS)
        link_next(request, response, after)
        return shapes.DeadLetterList(items=reader.each(found, reading.dead_letter), next_after=after)

    return router
