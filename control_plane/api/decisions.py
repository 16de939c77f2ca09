"""Routes for what was decided, done and judged: decisions, commands, effects."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query

from control_plane.api import gathering, reading, shapes
from control_plane.api.paging import FILTER_CHARS_MAX, Paged, page_of
from control_plane.api.ports import ApiPorts
from control_plane.api.problems import ProblemError, documented
from control_plane.api.reading import Reader
from control_plane.messages import topics
from control_plane.ports.audit import Audit, Kept

_Subject = Annotated[str | None, Query(max_length=FILTER_CHARS_MAX, description="kind/name")]
_Id = Annotated[str, Path(max_length=FILTER_CHARS_MAX, description="A message id.")]


def decision_routes(ports: ApiPorts, reader: Reader) -> APIRouter:
    """The routes under /v1/decisions."""
    router = APIRouter(prefix="/v1/decisions", tags=["decisions"])
    audit = ports.audit

    @router.get("", summary="List decisions", response_model=shapes.DecisionList, responses=documented(422))
    async def listed(paging: Paged, subject: _Subject = None) -> shapes.DecisionList:
        """What agents proposed, each with its verdict."""
        found, after = await page_of(audit, paging, topic=topics.DECISIONS, subject=subject)
        items, verdicts = reader.each(found, reading.decision), await gathering.verdicts_of(audit, found)
        for item in items:
            item.verdict = gathering.shaped(verdicts.get(item.id), reading.verdict)
        return shapes.DecisionList(items=items, next_after=after)

    @router.get(
        "/{id}", summary="Show a decision", response_model=shapes.DecisionDetail, responses=documented(404, 422)
    )
    async def shown(id: _Id) -> shapes.DecisionDetail:
        """A decision with its verdict and, where it was allowed, its command, outcome and effect."""
        kept = await _found(audit, id, topics.DECISIONS, "decision")
        verdict = await gathering.followed(audit, kept, gathering.verdicts_of)
        command = await gathering.followed(audit, verdict, gathering.commands_of)
        done = await _what_came_of(audit, command)
        command_item = gathering.shaped(command, reading.command)
        if command_item is not None:
            command_item.outcome = done["outcome"]
        return shapes.DecisionDetail(
            **_own_fields(kept, reading.decision, "verdict"),
            verdict=gathering.shaped(verdict, reading.verdict_detail),
            command=command_item,
            effect=done["effect"],
        )

    return router


def command_routes(ports: ApiPorts, reader: Reader) -> APIRouter:
    """The routes under /v1/commands."""
    router = APIRouter(prefix="/v1/commands", tags=["commands"])
    audit = ports.audit

    @router.get("", summary="List commands", response_model=shapes.CommandList, responses=documented(422))
    async def listed(paging: Paged, subject: _Subject = None) -> shapes.CommandList:
        """What was allowed to be done, each with what came of it."""
        found, after = await page_of(audit, paging, topic=topics.COMMANDS, subject=subject)
        items, outcomes = reader.each(found, reading.command), await gathering.outcomes_of(audit, found)
        for item in items:
            item.outcome = gathering.shaped(outcomes.get(item.id), reading.outcome)
        return shapes.CommandList(items=items, next_after=after)

    @router.get("/{id}", summary="Show a command", response_model=shapes.CommandDetail, responses=documented(404, 422))
    async def shown(id: _Id) -> shapes.CommandDetail:
        """A command with its outcome and its effect."""
        kept = await _found(audit, id, topics.COMMANDS, "command")
        done = await _what_came_of(audit, kept)
        return shapes.CommandDetail(**_own_fields(kept, reading.command, "outcome"), **done)

    return router


def effect_routes(ports: ApiPorts, reader: Reader) -> APIRouter:
    """The routes under /v1/effects."""
    router = APIRouter(prefix="/v1/effects", tags=["effects"])

    @router.get("", summary="List effects", response_model=shapes.EffectList, responses=documented(422))
    async def listed(paging: Paged, subject: _Subject = None) -> shapes.EffectList:
        """Whether actions did what their decisions promised."""
        found, after = await page_of(ports.audit, paging, topic=topics.EFFECTS, subject=subject)
        return shapes.EffectList(items=reader.each(found, reading.effect), next_after=after)

    return router


async def _found(audit: Audit, message_id: str, topic: str, what: str) -> Kept:
    kept = await gathering.find(audit, message_id, topic)
    if kept is None:
        raise ProblemError.not_found(what, message_id, f"/v1/{what}s")
    return kept


async def _what_came_of(audit: Audit, command: Kept | None) -> dict[str, Any]:
    outcome = await gathering.followed(audit, command, gathering.outcomes_of)
    effect = await gathering.followed(audit, outcome, gathering.effects_of)
    return {
        "outcome": gathering.shaped(outcome, reading.outcome),
        "effect": gathering.shaped(effect, reading.effect),
    }


def _own_fields(kept: Kept, shape: Callable[[Kept], shapes.Recorded], without: str) -> dict[str, Any]:
    return {name: value for name, value in reading.readable(kept, shape) if name != without}
