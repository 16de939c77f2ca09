"""Routes for dead letters: what could not be processed, and what people do about it."""

from datetime import datetime
from itertools import islice
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Path, Query, Request
from msgspec import Meta, Struct
from pydantic import AwareDatetime, BaseModel, Field

from control_plane.api import gathering, reading, shapes
from control_plane.api.bodies import decoded
from control_plane.api.letter_book import Entry, LetterBook, Resolved, State, Wanted
from control_plane.api.letter_desk import LETTERS_AT_ONCE_MAX, LetterDesk, Swept
from control_plane.api.paging import FILTER_CHARS_MAX, SEQUENCE_MAX, Paged, cut
from control_plane.api.ports import ApiPorts
from control_plane.api.problems import ProblemError, documented
from control_plane.errors import InvalidMessage
from control_plane.messages import topics
from control_plane.messages.resolution import BECAUSE_CHARS_MAX, How
from control_plane.messages.wire import ms_of, utc

_Filter = Query(max_length=FILTER_CHARS_MAX)
_Id = Annotated[str, Path(max_length=FILTER_CHARS_MAX, description="A dead letter's id.")]


class Because(BaseModel):
    """Why; the body may be left out."""

    because: str = Field(default="", max_length=BECAUSE_CHARS_MAX, description="One sentence for people.")


class Sweep(Because):
    """Which open letters: at least one filter must say so. Nothing is done unless `dry_run` is false."""

    reason: str | None = Field(default=None, description="The code of the reason.")
    topic: str | None = Field(default=None, description="Where the record stood.")
    subject: str | None = None
    agent: str | None = None
    since: datetime | None = Field(default=None, description="Buried at or after this time.")
    after: int = Field(default=0, ge=0, le=SEQUENCE_MAX, description="Go on after the letter with this sequence.")
    limit: int = Field(default=LETTERS_AT_ONCE_MAX, ge=1, le=LETTERS_AT_ONCE_MAX)
    dry_run: bool = True


_Reason = Annotated[str, Meta(max_length=BECAUSE_CHARS_MAX)]
_Text = Annotated[str, Meta(max_length=FILTER_CHARS_MAX)]


class _Because(Struct, frozen=True, forbid_unknown_fields=True):
    because: _Reason = ""


class _Sweep(Struct, frozen=True, forbid_unknown_fields=True):
    because: _Reason = ""
    reason: _Text | None = None
    topic: _Text | None = None
    subject: _Text | None = None
    agent: _Text | None = None
    since: Annotated[datetime, Meta(tz=True)] | None = None
    after: Annotated[int, Meta(ge=0, le=SEQUENCE_MAX)] = 0
    limit: Annotated[int, Meta(ge=1, le=LETTERS_AT_ONCE_MAX)] = LETTERS_AT_ONCE_MAX
    dry_run: bool = True


_because: Final = msgspec.json.Decoder(_Because)
_sweep: Final = msgspec.json.Decoder(_Sweep)


def _body(model: type[BaseModel], *, required: bool) -> dict[str, Any]:
    content = {"application/json": {"schema": model.model_json_schema()}}
    return {"requestBody": {"required": required, "content": content}}


def dead_letter_routes(ports: ApiPorts, book: LetterBook) -> APIRouter:
    """The routes under /v1/dead-letters."""
    router = APIRouter(prefix="/v1/dead-letters", tags=["dead letters"])
    desk = LetterDesk(ports, book)
    _add_reading(router, ports, book, desk)
    _add_resolving(router, book, desk)
    return router


def _add_reading(router: APIRouter, ports: ApiPorts, book: LetterBook, desk: LetterDesk) -> None:
    @router.get("", summary="List dead letters", response_model=shapes.DeadLetterList, responses=documented(422))
    async def listed(
        paging: Paged,
        state: Annotated[State | None, Query(description="open, redriven or discarded.")] = None,
        reason: Annotated[str | None, _Filter] = None,
        topic: Annotated[str | None, _Filter] = None,
        subject: Annotated[str | None, _Filter] = None,
        agent: Annotated[str | None, _Filter] = None,
        since: Annotated[AwareDatetime | None, Query(description="Buried at or after this time.")] = None,
    ) -> shapes.DeadLetterList:
        """What could not be processed: where it stands, why, what to change, and whether anything was done about it."""
        await book.refresh()
        wanted = Wanted(state=state, code=reason, topic=topic, subject=subject, agent=agent, since_ms=_ms(since))
        found = book.find(wanted, after=paging.after, newest_first=paging.order == "newest")
        entries, after = cut(list(islice(found, paging.limit + 1)), paging)
        return shapes.DeadLetterList(items=[await _item(ports, entry) for entry in entries], next_after=after)

    @router.get(
        "/{id}", summary="Show a dead letter", response_model=shapes.DeadLetterDetail, responses=documented(404, 422)
    )
    async def shown(id: _Id) -> shapes.DeadLetterDetail:
        """One dead letter with its record, and why it cannot be redriven as things are now, if it cannot."""
        await book.refresh()
        return await _detail(id, book, desk)


def _add_resolving(router: APIRouter, book: LetterBook, desk: LetterDesk) -> None:
    """Both ways to resolve a letter, for one of them and for many."""
    for how, doing, what in _WAYS:
        _add_way(router, book, desk, how, doing, what)


_WAYS: Final[tuple[tuple[How, str, str], ...]] = (
    (
        "redriven",
        "redrive",
        "Give a record back to the loop once what was wrong is mended. It keeps its id and is folded once, however "
        "often this is asked. 409 says why it would only be buried again.",
    ),
    ("discarded", "discard", "Leave it at that. The letter stays where it is and is open no longer."),
)


def _add_way(router: APIRouter, book: LetterBook, desk: LetterDesk, how: How, doing: str, what: str) -> None:
    @router.post(
        f"/{doing}",
        summary=f"{doing.capitalize()} many dead letters",
        description=f"{what} Takes open letters, the oldest first.",
        operation_id=f"{doing}_many",
        response_model=shapes.SweptLetters,
        responses=documented(400, 413, 422, 507),
        openapi_extra=_body(Sweep, required=True),
    )
    async def many(request: Request) -> shapes.SweptLetters:
        wish = decoded(await request.body(), _sweep)
        wanted = Wanted(
            code=wish.reason, topic=wish.topic, subject=wish.subject, agent=wish.agent, since_ms=_ms(wish.since)
        )
        if not wanted.names_some:
            raise _unchosen()
        swept = await desk.sweep(wanted, how, wish.because, after=wish.after, limit=wish.limit, dry_run=wish.dry_run)
        return _swept(swept, dry_run=wish.dry_run)

    @router.post(
        f"/{{id}}/{doing}",
        summary=f"{doing.capitalize()} a dead letter",
        description=what,
        operation_id=f"{doing}_one",
        response_model=shapes.DeadLetterDetail,
        responses=documented(400, 404, 409, 413, 422, 507),
        openapi_extra=_body(Because, required=False),
    )
    async def one(id: _Id, request: Request) -> shapes.DeadLetterDetail:
        wish = decoded(await request.body() or b"{}", _because)
        await desk.resolve(id, how, wish.because)
        return await _detail(id, book, desk)


async def _item(ports: ApiPorts, entry: Entry) -> shapes.DeadLetterItem:
    kept = await gathering.find(ports.audit, entry.id, topics.DEAD_LETTERS)
    assert kept is not None, "the book knows only what is recorded"
    return reading.readable(kept, lambda found: shapes.DeadLetterItem(**reading.dead_letter(found), **_done(entry)))


async def _detail(letter_id: str, book: LetterBook, desk: LetterDesk) -> shapes.DeadLetterDetail:
    kept, letter = await desk.find(letter_id)
    entry = book.get(letter_id)
    done = _done(entry) if entry is not None else _done_about(await desk.resolution_of(letter), None)
    objection = desk.objection(letter) if done["state"] == "open" else None
    return shapes.DeadLetterDetail(
        **reading.dead_letter(kept),
        **done,
        record=letter.record.decode(errors="replace"),
        objection=None if objection is None else _objection(objection),
    )


def _done(entry: Entry) -> dict[str, Any]:
    return _done_about(entry.resolved, entry.again)


def _done_about(resolved: Resolved | None, again: str | None) -> dict[str, Any]:
    """What was done about a letter, as the shapes have it."""
    if resolved is None:
        return {"state": "open", "resolution": None, "again": again}
    fields: dict[str, Any] = msgspec.to_builtins(resolved)
    item = shapes.ResolutionItem(**fields, at=utc(fields.pop("at_ms")))
    return {"state": resolved.how, "resolution": item, "again": again}


def _objection(reason: InvalidMessage) -> shapes.Objection:
    return shapes.Objection(code=reason.code, detail=reason.detail, field=reason.field, cure=reason.cure)


def _swept(swept: Swept, *, dry_run: bool) -> shapes.SweptLetters:
    refused = [shapes.SweptLetter(id=found.id, **_objection(found.reason).model_dump()) for found in swept.refused]
    return shapes.SweptLetters(dry_run=dry_run, done=swept.done, refused=refused, next_after=swept.next_after)


def _ms(when: datetime | None) -> int | None:
    return None if when is None else ms_of(when)


def _unchosen() -> ProblemError:
    return ProblemError(
        422,
        "letters_unchosen",
        "the request does not say which letters; nothing was done",
        "Give at least one of reason, topic, subject, agent and since.",
    )
