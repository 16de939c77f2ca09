"""Why something was decided and done: one dossier for each decision, put together from what was recorded."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from control_plane.api import gathering, reading, shapes
from control_plane.api.journal import JournalItem, journal_of
from control_plane.api.paging import FILTER_CHARS_MAX
from control_plane.api.ports import ApiPorts
from control_plane.api.problems import ProblemError, documented
from control_plane.governance.order import STAGES
from control_plane.messages import topics
from control_plane.ports.audit import Audit, Kept

STEPS_BACK_MAX = 8
"""From an effect to its decision there are four; more is no flow of ours."""


class GuardAnswer(BaseModel):
    """What one step of the order said."""

    stage: str
    answer: Literal["passed", "stopped", "not asked"]
    reasons: list[shapes.Reason] = []


class Dossier(BaseModel):
    """Everything about one decision, in the order in which it came about."""

    event: shapes.EventItem | None = Field(description="The fact that the agent was shown, and where it stands.")
    rows: dict[str, Any] | None = Field(
        description="The row parts that the agent read, as they were; null when a guard stopped the decision before "
        "policy was asked: then they were not recorded, and `setpoint explain` reads them from the log."
    )
    facts: dict[str, Any] | None = Field(description="What code had gathered for policy; null as above.")
    journal: list[JournalItem] = Field(
        description="What a slow agent asked outside before it decided, and what it was answered."
    )
    decision: shapes.DecisionItem
    guards: list[GuardAnswer] = Field(description="Each step of the order with its answer; empty until it is ruled on.")
    verdict: shapes.VerdictItem | None
    command: shapes.CommandItem | None = Field(description="With its attempts and its outcome.")
    effect: shapes.EffectItem | None


def dossier_routes(ports: ApiPorts) -> APIRouter:
    """The route of the dossier."""
    router = APIRouter(prefix="/v1/decisions", tags=["decisions"])

    @router.get(
        "/{id}/dossier", summary="Explain a decision", response_model=Dossier, responses=documented(404, 422, 500)
    )
    async def dossier(
        id: Annotated[
            str, Path(max_length=FILTER_CHARS_MAX, description="Of a decision, or of what followed from one.")
        ],
    ) -> Dossier:
        """The fact, what was known, each guard's answer, the ruling, the command, its attempts, outcome and effect."""
        decision = await _decision_behind(ports.audit, id)
        return await _dossier_of(ports.audit, decision)

    return router


async def _decision_behind(audit: Audit, message_id: str) -> Kept:
    """The decision with this id, or the one that the message with this id follows from."""
    step: str | None = message_id
    for _ in range(STEPS_BACK_MAX):
        found = await audit.get(step) if step is not None else ()
        decided = next((kept for kept in found if kept.message.topic == topics.DECISIONS), None)
        if decided is not None:
            return decided
        step = next((kept.message.causation_id for kept in found if kept.message.causation_id), None)
    if await audit.get(message_id):
        raise ProblemError(
            404,
            "not_found",
            f"{message_id!r} follows from no decision",
            "It is an event: GET /v1/flows/{correlation_id} shows what followed from it, and "
            "`setpoint explain ID --agent NAME` why an agent said nothing on it.",
        )
    raise ProblemError.not_found("decision", message_id, "/v1/decisions")


async def _dossier_of(audit: Audit, decision: Kept) -> Dossier:
    verdict = await gathering.followed(audit, decision, gathering.verdicts_of)
    command = await gathering.followed(audit, verdict, gathering.commands_of)
    outcome = await gathering.followed(audit, command, gathering.outcomes_of)
    effect = await gathering.followed(audit, outcome, gathering.effects_of)
    ruled = gathering.shaped(verdict, reading.verdict_detail)
    commanded = gathering.shaped(command, reading.command)
    if commanded is not None:
        commanded.outcome = gathering.shaped(outcome, reading.outcome)
    asked = ruled.policy_input if ruled is not None else None
    event = await _fact_of(audit, decision)
    return Dossier(
        event=gathering.shaped(event, reading.event),
        rows=asked.get("rows") if asked is not None else None,
        facts=asked.get("facts") if asked is not None else None,
        journal=await journal_of(audit, decision, event),
        decision=reading.readable(decision, reading.decision),
        guards=_guards(ruled),
        verdict=gathering.shaped(verdict, reading.verdict),
        command=commanded,
        effect=gathering.shaped(effect, reading.effect),
    )


async def _fact_of(audit: Audit, decision: Kept) -> Kept | None:
    """The event that the decision follows from. Sources may share an id, so the flow tells."""
    said = decision.message
    found = await audit.get(said.causation_id) if said.causation_id else ()
    return next((kept for kept in found if kept.message.correlation_id == said.correlation_id), None)


def _guards(verdict: shapes.VerdictItem | None) -> list[GuardAnswer]:
    """The first that stops a decision ends it, so all before it let it pass."""
    if verdict is None:
        return []
    answers, ended = [], False
    for stage in STAGES:
        if ended:
            answers.append(GuardAnswer(stage=stage, answer="not asked"))
        elif stage == verdict.stage:
            ended = True
            stopped = verdict.answer != "allow"
            answers.append(GuardAnswer(stage=stage, answer="stopped" if stopped else "passed", reasons=verdict.reasons))
        else:
            answers.append(GuardAnswer(stage=stage, answer="passed"))
    return answers
