"""Routes for OPA: the bundle that it pulls, and what it says of itself. OPA shows a token of its own, good for no more.

A pull waits until there is another bundle (`Prefer: wait=N`): so a change is with every OPA a moment after it is made.
"""

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Header, Request, Response
from pydantic import BaseModel, Field

from control_plane.api.ports import ApiPorts
from control_plane.api.problems import ProblemError, documented
from control_plane.errors import InvalidMessage
from control_plane.ports.bundles import Bundles

BUNDLE_PATH: Final = "/v1/bundles/setpoint"
STATUS_PATH: Final = "/v1/opa/status"
OPA_PATHS: Final = frozenset({BUNDLE_PATH, STATUS_PATH})
"""What OPA's token opens."""

MEDIA_TYPE: Final = "application/vnd.openpolicyagent.bundles"
"""It tells OPA that this server answers long polls."""

WAIT_S_MAX: Final = 60
STATUS_BYTES_MAX: Final = 256 * 1024
_WAIT: Final = re.compile(r"(?:^|[;,\s])wait=(\d{1,6})")
_ARCHIVE: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "A signed bundle, tar.gz.", "content": {MEDIA_TYPE: {}}},
}
_BODY: Final[dict[str, Any]] = {
    "requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}
}


class SeenOpa(BaseModel):
    """An OPA that told of itself."""

    id: str = Field(description="The id that it gave itself at its start.")
    version: str
    bundle: str = Field(description="The policy revisions that it holds, newest first, joined by +.")
    current: bool = Field(description="Whether that is what the service offers now.")
    problem: str = Field(description="Why it did not take the last bundle that it got; empty when it did.")
    told_at: datetime


class SeenOpas(BaseModel):
    """Who runs which policies."""

    offered: str = Field(description="The policy revisions of the bundle that every OPA is to run.")
    opas: list[SeenOpa]


class Taken(BaseModel):
    """A status was kept."""

    taken: bool


def bundle_routes(ports: ApiPorts) -> APIRouter:
    """The routes for OPA."""
    router = APIRouter(tags=["policies"])

    @router.get(
        BUNDLE_PATH,
        summary="The bundle that OPA pulls",
        response_class=Response,
        responses={**documented(404, 422), **_ARCHIVE},
    )
    async def bundle(
        if_none_match: Annotated[str | None, Header(max_length=200)] = None,
        prefer: Annotated[str | None, Header(max_length=200)] = None,
    ) -> Response:
        """Answers at once when If-None-Match is not the present bundle, and otherwise after `Prefer: wait=SECONDS` or
        as soon as there is another one. 304 where there was none."""
        found = await _of(ports).bundle(if_none_match, _wait_s(prefer))
        if found is None:
            # OPA polls the long way only where it sees the media type, also here.
            headers = {"ETag": if_none_match} if if_none_match else {}
            return Response(status_code=304, media_type=MEDIA_TYPE, headers=headers)
        return Response(found.body, media_type=MEDIA_TYPE, headers={"ETag": found.etag})

    @router.post(
        STATUS_PATH,
        summary="What OPA says of itself",
        response_model=Taken,
        responses=documented(400, 404, 413),
        openapi_extra=_BODY,
    )
    async def status(request: Request) -> Taken:
        """OPA's status: the bundle that it runs, and why it refused another."""
        body = await request.body()
        if len(body) > STATUS_BYTES_MAX:
            raise InvalidMessage("too_large", f"a status has at most {STATUS_BYTES_MAX} bytes; it was not kept")
        try:
            told = msgspec.json.decode(body, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            raise InvalidMessage("json_broken", f"the status is no JSON object ({exc}); it was not kept") from exc
        _of(ports).told(told, ports.now_ms())
        return Taken(taken=True)

    @router.get("/v1/opa", summary="List the OPAs", response_model=SeenOpas, responses=documented(404))
    async def seen() -> SeenOpas:
        """Every OPA that told of itself, with the policies that it holds."""
        bundles = _of(ports)
        opas = [
            SeenOpa(
                id=each.id,
                version=each.version,
                bundle=each.bundle,
                current=each.bundle == bundles.revision,
                problem=each.problem,
                told_at=datetime.fromtimestamp(each.told_at_ms / 1_000, UTC),
            )
            for each in bundles.seen()
        ]
        return SeenOpas(offered=bundles.revision, opas=opas)

    return router


def _of(ports: ApiPorts) -> Bundles:
    if ports.bundles is None:
        raise ProblemError(
            404,
            "no_bundles",
            "policy is ruled on in the service's own process, so there is no bundle",
            "Set policy_engine to the address of an OPA, and start again.",
        )
    return ports.bundles


def _wait_s(prefer: str | None) -> float:
    found = _WAIT.search(prefer or "")
    return min(int(found[1]), WAIT_S_MAX) if found else 0
