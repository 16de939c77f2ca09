"""Routes that show messages of every kind together: a flow, a subject."""

from typing import Annotated

from fastapi import APIRouter, Path

from control_plane.api import reading, shapes
from control_plane.api.paging import FILTER_CHARS_MAX, Paged, Paging, page_of
from control_plane.api.ports import ApiPorts
from control_plane.api.problems import ProblemError, documented
from control_plane.api.reading import Reader


def flow_routes(ports: ApiPorts, reader: Reader) -> APIRouter:
    """The routes for flows and subjects."""
    router = APIRouter(prefix="/v1")

    async def messages(what: str, name: str, paging: Paging, **about: str) -> shapes.MessageList:
        found, after = await page_of(ports.audit, paging, **about)
        if not found and not paging.after:
            raise ProblemError.not_found(what, name, "/v1/events")
        return shapes.MessageList(items=reader.each(found, reading.message), next_after=after)

    @router.get(
        "/flows/{correlation_id}",
        tags=["flows"],
        summary="Show a flow",
        response_model=shapes.MessageList,
        responses=documented(404, 422),
    )
    async def flow(
        correlation_id: Annotated[str, Path(max_length=FILTER_CHARS_MAX)], paging: Paged
    ) -> shapes.MessageList:
        """Everything that followed from one root event. `causation_id` tells what follows from what."""
        return await messages("flow", correlation_id, paging, correlation_id=correlation_id)

    @router.get(
        "/subjects/{subject:path}",
        tags=["flows"],
        summary="Show a subject",
        response_model=shapes.MessageList,
        responses=documented(404, 422),
    )
    async def subject(
        subject: Annotated[str, Path(max_length=FILTER_CHARS_MAX, description="kind/name")], paging: Paged
    ) -> shapes.MessageList:
        """Every message about one subject, as the audit store holds them."""
        return await messages("subject", subject, paging, subject=subject)

    return router
