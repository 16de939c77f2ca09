"""The route by which a person lets a partition go on that stopped because its log is no longer the one it had applied.

Says what it means where it is asked: nothing is looked into here, and what the log lost does not come back.
"""

from typing import Annotated, Final

import msgspec
from fastapi import APIRouter, Path, Request
from msgspec import Meta, Struct
from pydantic import BaseModel, Field

from control_plane.api.bodies import decoded
from control_plane.api.ports import ApiPorts
from control_plane.api.problems import ProblemError, documented
from control_plane.errors import InvalidMessage, InvalidSettings


class GoOn(BaseModel):
    """From where; the body may be left out."""

    from_offset: int | None = Field(
        default=None,
        ge=0,
        description="The offset of `events.v1` to go on at. Without it: the first kept record where the log only lost "
        "its beginning, and otherwise its end, so that nothing is done twice.",
    )


class GoesOn(BaseModel):
    """What was said. A partition that is not stopped goes on as before, and hears nothing of it."""

    partition: int
    generation: int = Field(description="How often a person has let this partition go on.")
    next_offset: int


class _GoOn(Struct, frozen=True, forbid_unknown_fields=True):
    from_offset: Annotated[int, Meta(ge=0)] | None = None


_decoder: Final = msgspec.json.Decoder(_GoOn)


def partition_routes(ports: ApiPorts) -> APIRouter:
    """The route under /v1/partitions."""
    router = APIRouter(prefix="/v1/partitions", tags=["running it"])

    @router.post(
        "/{number}/continue",
        status_code=202,
        summary="Let a stopped partition go on",
        response_model=GoesOn,
        responses=documented(400, 404, 422, 507),
        openapi_extra={"requestBody": {"content": {"application/json": {"schema": GoOn.model_json_schema()}}}},
    )
    async def go_on(
        number: Annotated[int, Path(ge=0, description="A partition of `events.v1`.")], request: Request
    ) -> GoesOn:
        """Rows keep what they know, live commands and all; where they stood in the lost log is forgotten."""
        wish = decoded(await request.body() or b"{}", _decoder)
        if number >= ports.partitions:
            raise ProblemError.not_found("partition", str(number), "/health/ready")
        try:
            word = await ports.go_on(number, wish.from_offset)
        except InvalidSettings as exc:
            cure = "Run setpoint log info -o wide to see which offsets there are, or leave from_offset out."
            raise InvalidMessage("offset_unknown", str(exc), field="from_offset", cure=cure) from exc
        return GoesOn(partition=word.partition, generation=word.generation, next_offset=word.next_offset)

    return router
