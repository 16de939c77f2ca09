"""The route that takes a command back which has not begun.

Says what became of it, as far as that is known: whoever asks may come too late, and is told so.
"""

import asyncio
from typing import Annotated, Final, Literal

import msgspec
from fastapi import APIRouter, Path, Request
from msgspec import Meta, Struct
from pydantic import BaseModel, Field

from control_plane.api import gathering, reading, shapes
from control_plane.api.bodies import decoded
from control_plane.api.paging import FILTER_CHARS_MAX
from control_plane.api.ports import ApiPorts
from control_plane.api.problems import ProblemError, documented
from control_plane.messages import Command, topics
from control_plane.messages.cancellation import BECAUSE_CHARS_MAX, Cancellation, cancellation, event_of
from control_plane.messages.wire import decode
from control_plane.ports.audit import Kept

OUTCOME_WAIT_S: Final = 2.0
"""How long the outcome is waited for, so that most who ask learn at once what became of it."""

POLL_INTERVAL_S: Final = 0.05


class Wish(BaseModel):
    """Why; the body may be left out."""

    because: str = Field(default="", max_length=BECAUSE_CHARS_MAX, description="One sentence for people.")


class Cancelled(BaseModel):
    """`cancelled`: it ended as refused, and nothing was done. `requested`: it has not begun as far as is known here.
    It is refused when its turn comes, unless it begins before its executor hears of this; its outcome will tell."""

    command_id: str
    state: Literal["cancelled", "requested"]
    outcome: shapes.OutcomeItem | None


class _Wish(Struct, frozen=True, forbid_unknown_fields=True):
    because: Annotated[str, Meta(max_length=BECAUSE_CHARS_MAX)] = ""


_decoder: Final = msgspec.json.Decoder(_Wish)


def cancel_routes(ports: ApiPorts) -> APIRouter:
    """The route under /v1/commands."""
    router = APIRouter(prefix="/v1/commands", tags=["commands"])

    @router.post(
        "/{id}/cancel",
        status_code=202,
        summary="Cancel a command",
        response_model=Cancelled,
        responses=documented(400, 404, 409, 422, 507),
        openapi_extra={"requestBody": {"content": {"application/json": {"schema": Wish.model_json_schema()}}}},
    )
    async def cancel(
        id: Annotated[str, Path(max_length=FILTER_CHARS_MAX, description="A command's id.")],
        request: Request,
    ) -> Cancelled:
        """A command that has not begun is refused instead of carried out. One that has begun cannot be called back."""
        wish = decoded(await request.body() or b"{}", _decoder)
        kept = await gathering.find(ports.audit, id, topics.COMMANDS)
        if kept is None:
            raise ProblemError.not_found("command", id, "/v1/commands")
        command = decode(kept.message.body, Command)
        wanted = cancellation(command, by=ports.key.person, because=wish.because)
        _check_not_over(command, await gathering.followed(ports.audit, kept, gathering.outcomes_of))
        if ports.has_begun(command):
            raise _begun(command)
        await ports.desk.cancel(wanted, event_of(wanted, command, ports.now_ms()))
        outcome = await _outcome_of(ports, kept)
        _check_not_over(command, outcome)
        if outcome is None and ports.has_begun(command):
            raise _begun(command)
        return Cancelled(
            command_id=id,
            state="requested" if outcome is None else "cancelled",
            outcome=gathering.shaped(outcome, reading.outcome),
        )

    return router


async def _outcome_of(ports: ApiPorts, command: Kept) -> Kept | None:
    """The outcome, if it is recorded soon."""
    waits = int(OUTCOME_WAIT_S / POLL_INTERVAL_S)
    for _ in range(waits):
        found = await gathering.followed(ports.audit, command, gathering.outcomes_of)
        if found is not None:
            return found
        await asyncio.sleep(POLL_INTERVAL_S)
    return None


def _check_not_over(command: Command, outcome: Kept | None) -> None:
    """Raises ProblemError unless the command has no outcome, or was refused because it was cancelled."""
    if outcome is None:
        return
    found = reading.outcome(outcome)
    if found.status == "refused" and found.detail.startswith(Cancellation.SAYS):
        return
    raise ProblemError(
        409,
        "command_over",
        f"the command is over: {found.status}; nothing was cancelled",
        "Look at what came of it with GET /v1/commands/{id}; what was done is only undone by another proposal.",
        outcome=found.model_dump(mode="json"),
    )


def _begun(command: Command) -> ProblemError:
    return ProblemError(
        409,
        "command_begun",
        f"{command.intent} on {command.subject} has begun; it was not cancelled",
        "Wait for its outcome with GET /v1/commands/{id}; what was done is only undone by another proposal.",
    )
