"""Routes that show messages of every kind together: a flow, a subject."""

from collections.abc import Sequence
from typing import Annotated, Final

from fastapi import APIRouter, Path

from control_plane.api import gathering, reading, shapes
from control_plane.api.letter_book import LetterBook, Wanted
from control_plane.api.paging import FILTER_CHARS_MAX, Paged, Paging, page_of
from control_plane.api.ports import ApiPorts
from control_plane.api.problems import ProblemError, documented
from control_plane.api.reading import Reader
from control_plane.messages import topics
from control_plane.ports.audit import Audit, Kept, Page

COMMANDS_LOOKED_AT: Final = 20
"""Newest commands of a subject that are looked at for one without an outcome."""


def flow_routes(ports: ApiPorts, reader: Reader, letters: LetterBook) -> APIRouter:
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
        response_model=shapes.SubjectView,
        responses=documented(404, 422),
    )
    async def subject(
        subject: Annotated[str, Path(max_length=FILTER_CHARS_MAX, description="kind/name")], paging: Paged
    ) -> shapes.SubjectView:
        """Every message about one subject and how things stand with it, as the audit store holds them."""
        found = await messages("subject", subject, paging, subject=subject)
        await letters.refresh()
        events = reader.each(await _newest(ports.audit, subject, topics.EVENTS, 1), reading.event)
        return shapes.SubjectView(
            items=found.items,
            next_after=found.next_after,
            last_event=next(iter(events), None),
            last_decision=await _last_decision(ports.audit, reader, subject),
            live_commands=await _live_commands(ports.audit, reader, subject),
            open_dead_letters=sum(1 for _ in letters.find(Wanted(state="open", subject=subject))),
        )

    return router


async def _newest(audit: Audit, subject: str, topic: str, limit: int) -> Sequence[Kept]:
    return await audit.query(Page(topic=topic, subject=subject, newest_first=True, limit=limit))


async def _last_decision(audit: Audit, reader: Reader, subject: str) -> shapes.DecisionItem | None:
    found = await _newest(audit, subject, topics.DECISIONS, 1)
    verdicts = await gathering.verdicts_of(audit, found)
    for item in reader.each(found, reading.decision):
        item.verdict = gathering.shaped(verdicts.get(item.id), reading.verdict)
        return item
    return None


async def _live_commands(audit: Audit, reader: Reader, subject: str) -> list[shapes.CommandItem]:
    found = await _newest(audit, subject, topics.COMMANDS, COMMANDS_LOOKED_AT)
    outcomes = await gathering.outcomes_of(audit, found)
    return reader.each([kept for kept in found if kept.message.message_id not in outcomes], reading.command)
