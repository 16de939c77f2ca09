"""Lists by keyset: a page goes on after the sequence of the last item seen, whatever arrives meanwhile."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Literal, Protocol, TypeVar

from fastapi import Depends, Query, Request, Response

from control_plane.ports.audit import Audit, Kept, Page

LIMIT_DEFAULT: Final = 50
LIMIT_MAX: Final = 500
SEQUENCE_MAX: Final = 2**63 - 1
FILTER_CHARS_MAX: Final = 512


class _HasSequence(Protocol):
    @property
    def sequence(self) -> int: ...


_Numbered = TypeVar("_Numbered", bound=_HasSequence)


@dataclass(frozen=True, kw_only=True, slots=True)
class Paging:
    """How much of a list, and from where; and where to say that it goes on."""

    limit: int
    after: int
    order: Literal["newest", "oldest"]
    request: Request
    response: Response


def _paging(
    request: Request,
    response: Response,
    limit: Annotated[int, Query(ge=1, le=LIMIT_MAX, description="At most so many items.")] = LIMIT_DEFAULT,
    after: Annotated[
        int, Query(ge=0, le=SEQUENCE_MAX, description="Go on after the item with this sequence; 0 begins.")
    ] = 0,
    order: Annotated[Literal["newest", "oldest"], Query(description="Which end to begin at.")] = "newest",
) -> Paging:
    return Paging(limit=limit, after=after, order=order, request=request, response=response)


Paged = Annotated[Paging, Depends(_paging)]
"""The paging parameters of a request."""


async def page_of(
    audit: Audit,
    paging: Paging,
    *,
    topic: str | None = None,
    type: str | None = None,
    subject: str | None = None,
    correlation_id: str | None = None,
) -> tuple[Sequence[Kept], int | None]:
    """One page, and where the next begins, which the answer's `Link` says too; None when this was the last. Filters
    are as in `ports.audit.Page`."""
    found = await audit.query(
        Page(
            topic=topic,
            type=type,
            subject=subject,
            correlation_id=correlation_id,
            after=paging.after,
            limit=paging.limit + 1,
            newest_first=paging.order == "newest",
        )
    )
    return cut(found, paging)


def cut(found: Sequence[_Numbered], paging: Paging) -> tuple[Sequence[_Numbered], int | None]:
    """A page of what was found, of which there is one more than the page holds unless it is the last; and `after`."""
    if len(found) <= paging.limit:
        return found, None
    kept = found[: paging.limit]
    after = kept[-1].sequence
    paging.response.headers["Link"] = f'<{paging.request.url.include_query_params(after=after)}>; rel="next"'
    return kept, after
