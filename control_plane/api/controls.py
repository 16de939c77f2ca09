"""Routes for what is in force: shown item by item, and changed as a whole.

A change names what it was compared with (If-Match), so that nobody undoes what they have not seen.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import BaseModel, Field

from control_plane.api.bodies import decoded
from control_plane.api.ports import ApiPorts
from control_plane.api.problems import ProblemError, documented
from control_plane.catalogue import ControlItem
from control_plane.errors import Flaw, InvalidWorkspace
from control_plane.messages import topics
from control_plane.messages.event import CONTROLS_ADOPTED
from control_plane.ports.audit import Audit, Page
from control_plane.workspace.diffing import Moved

REVISION_CHARS_MAX: Final = 64


class Item(BaseModel):
    """One versioned thing: an intent, a row, a rule, a policy..."""

    kind: str
    name: str
    body: str = Field(description="Canonical JSON, Rego or Python.")


class ItemInForce(Item):
    """One that is in force."""

    revision: str = Field(description="Digest of kind, name and body: an unchanged item has an unchanged revision.")


class InForce(BaseModel):
    """What the service follows."""

    revision: str = Field(description="Digest of all items; the ETag.")
    adopted: bool = Field(description="Whether every partition follows this revision.")
    partitions: dict[str, str | None] = Field(description="The revision that each partition follows, as far as known.")
    settings: dict[str, str] = Field(description="What setpoint.yaml said at the start; other settings need a restart.")
    items: list[ItemInForce]


class NewControls(BaseModel):
    """All items that are to be in force together; what is not among them goes."""

    items: list[Item]


class AppliedItem(BaseModel):
    """An item that is not what it was."""

    kind: str
    name: str
    how: str = Field(description="added, changed or removed.")


class AppliedControls(BaseModel):
    """A change that stands on the log."""

    before: str
    revision: str
    changes: list[AppliedItem]


class _Item(msgspec.Struct, frozen=True):
    kind: str
    name: str
    body: str


class _NewControls(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    items: list[_Item]


class _AdoptedData(msgspec.Struct):
    revision: str


class _Adopted(msgspec.Struct):
    data: _AdoptedData


_decoder = msgspec.json.Decoder(_NewControls)
_adopted_decoder = msgspec.json.Decoder(_Adopted)
_BODY: Final[dict[str, Any]] = {
    "requestBody": {"required": True, "content": {"application/json": {"schema": NewControls.model_json_schema()}}}
}


def control_routes(ports: ApiPorts) -> APIRouter:
    """The routes under /v1/controls."""
    router = APIRouter(prefix="/v1/controls", tags=["controls"])

    @router.get("", summary="Show what is in force", response_model=InForce, responses=documented(422))
    async def shown(
        response: Response, items: Annotated[bool, Query(description="false leaves the items out.")] = True
    ) -> InForce:
        """Every item that is in force together, and which partitions have adopted it."""
        revision, found = ports.desk.wanted, ports.desk.items if items else ()
        partitions = await _followed(ports)
        response.headers["ETag"] = f'"{revision}"'
        return InForce(
            revision=revision,
            adopted=all(followed == revision for followed in partitions.values()),
            partitions={str(number): followed for number, followed in partitions.items()},
            settings=dict(ports.settings),
            items=[ItemInForce(kind=i.kind, name=i.name, body=i.body, revision=i.revision) for i in found],
        )

    @router.put(
        "",
        summary="Put other controls in force",
        response_model=AppliedControls,
        responses=documented(400, 412, 413, 422, 428, 507),
        openapi_extra=_BODY,
    )
    async def put(
        request: Request, if_match: Annotated[str | None, Header(max_length=REVISION_CHARS_MAX)] = None
    ) -> AppliedControls:
        """Checks all items as `setpoint check` would and publishes what is new: all of it, or nothing. If-Match names
        the revision that the change was compared with. Partitions adopt it without a restart."""
        if if_match is None:
            raise _unconditional()
        items = _items_of(await request.body())
        try:
            done = await ports.desk.apply(items, if_match.removeprefix("W/").strip('"'))
        except InvalidWorkspace as exc:
            raise _refused(exc.flaws) from exc
        if isinstance(done, Moved):
            raise _moved(done.revision)
        changes = [AppliedItem(kind=change.kind, name=change.name, how=change.how) for change in done.changes]
        return AppliedControls(before=done.before, revision=done.revision, changes=changes)

    return router


async def _followed(ports: ApiPorts) -> Mapping[int, str | None]:
    """The revision that each partition follows: as this process knows of its own, as the log says of others."""
    owned = ports.owned()
    return {
        number: owned[number] if number in owned else await _adopted_last(ports.audit, number)
        for number in range(ports.partitions)
    }


async def _adopted_last(audit: Audit, partition: int) -> str | None:
    page = Page(
        topic=topics.EVENTS, type=CONTROLS_ADOPTED, subject=f"partition/{partition}", newest_first=True, limit=1
    )
    found = await audit.query(page)
    return _adopted_decoder.decode(found[0].message.body).data.revision if found else None


def _items_of(body: bytes) -> Sequence[ControlItem]:
    found = decoded(body, _decoder)
    return [ControlItem(item.kind, item.name, item.body) for item in found.items]


def _unconditional() -> ProblemError:
    return ProblemError(
        428,
        "precondition_required",
        "the request does not say what it was compared with; nothing was changed",
        "Send If-Match with the ETag of GET /v1/controls.",
        field="If-Match",
    )


def _moved(revision: str) -> ProblemError:
    return ProblemError(
        412,
        "controls_changed",
        f"the revision {revision} is in force, another one than this was compared with; nothing was changed",
        "Look at GET /v1/controls again and compare anew: setpoint apply does both.",
        field="If-Match",
        headers={"ETag": f'"{revision}"'},
    )


def _refused(flaws: Sequence[Flaw]) -> ProblemError:
    first = flaws[0]
    count = f"{len(flaws)} things are wrong, the first in " if len(flaws) > 1 else ""
    return ProblemError(
        422,
        "controls_invalid",
        f"{count}{first.file}: {first.problem}; nothing was changed",
        first.cure,
        field="items",
        flaws=[msgspec.to_builtins(flaw) for flaw in flaws],
    )
