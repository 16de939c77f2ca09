"""The route for what a person proposes: checked at the door, ruled on by the loop like any other proposal."""

import secrets
from collections.abc import Sequence
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Header, Request
from msgspec import Meta, Struct
from pydantic import BaseModel, Field

from control_plane.api.bodies import decoded
from control_plane.api.ports import ApiPorts
from control_plane.api.problems import ProblemError, documented
from control_plane.catalogue import Controls, Intent
from control_plane.causality import Lineage, digest
from control_plane.errors import InvalidMessage
from control_plane.loop.deliberation import BECAUSE_CHARS_MAX, PROPOSAL_BYTES_MAX
from control_plane.loop.intake import check_event
from control_plane.messages import Decision, Proposed, Subject, topics
from control_plane.messages.event import DECISION_PROPOSED
from control_plane.messages.wire import decode_event, encode, proposed_of
from control_plane.ports.audit import Kept
from control_plane.ports.backbone import Output
from control_plane.ports.expressions import ExpressionInvalid
from control_plane.ports.schemas import SchemaViolation
from control_plane.workspace.flaws import did_you_mean

KEY_CHARS_MAX: Final = 200
VERSION: Final = "1"


class Proposal(BaseModel):
    """What a person wants to be done."""

    intent: str = Field(description="An intent of the catalogue.")
    subject: str = Field(description="kind/name, as in service/web-1.")
    parameters: dict[str, Any] = Field(default={}, description="As the intent's JSON Schema asks for them.")
    because: str = Field(default="", max_length=BECAUSE_CHARS_MAX, description="One sentence for people.")
    still_when: str | None = Field(default=None, description="CEL that must hold when it is ruled on.")


class AcceptedProposal(BaseModel):
    """A proposal that is durable on the log. Its verdict follows: GET /v1/decisions/{decision_id}."""

    id: str
    decision_id: str
    agent: str = Field(description="Who proposes, as policies are told.")
    correlation_id: str


class _Proposal(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    intent: str
    subject: str
    parameters: dict[str, Any] = {}
    because: Annotated[str, Meta(max_length=BECAUSE_CHARS_MAX)] = ""
    still_when: str | None = None


_decoder = msgspec.json.Decoder(_Proposal)
_BODY: Final[dict[str, Any]] = {
    "requestBody": {"required": True, "content": {"application/json": {"schema": Proposal.model_json_schema()}}}
}


def proposal_routes(ports: ApiPorts) -> APIRouter:
    """The routes under /v1/proposals."""
    router = APIRouter(prefix="/v1/proposals", tags=["proposals"])

    @router.post(
        "",
        status_code=202,
        summary="Propose",
        response_model=AcceptedProposal,
        responses=documented(400, 413, 422, 507),
        openapi_extra=_BODY,
    )
    async def propose(
        request: Request, idempotency_key: Annotated[str | None, Header(max_length=KEY_CHARS_MAX)] = None
    ) -> AcceptedProposal:
        """A person's proposal, under the same rules as an agent's. Answered once it is durable; the same
        Idempotency-Key again gives the same proposal, which is ruled on once."""
        wish = decoded(await request.body(), _decoder)
        controls = ports.controls()
        if controls is None:
            raise _not_yet()
        proposed = _proposed(wish, controls, ports.key.person, idempotency_key, ports.now_ms())
        raw = encode(proposed)
        check_event(decode_event(raw, proposed.occurred_ms), proposed.occurred_ms, controls)
        lineage = proposed.lineage
        known = await ports.audit.get(lineage.message_id) if idempotency_key is not None else ()
        if not _is_known(known, proposed):
            await ports.append([Output(topics.EVENTS, proposed.subject.encode(), raw)])
        return AcceptedProposal(
            id=lineage.message_id,
            decision_id=proposed.decisions[0].lineage.message_id,
            agent=proposed.agent,
            correlation_id=lineage.correlation_id,
        )

    return router


def _proposed(wish: _Proposal, controls: Controls, person: str, key: str | None, now_ms: int) -> Proposed:
    """The proposal as it goes onto the log. Raises InvalidMessage with the field that is wrong."""
    subject = Subject.parse(wish.subject)
    intent = controls.intents.get(wish.intent)
    if intent is None:
        cure = did_you_mean(wish.intent, controls.intents, "Declare it in intents/ of the workspace.")
        raise InvalidMessage("intent_unknown", f"no intent {wish.intent!r} is in force", field="intent", cure=cure)
    _check_fit(wish, intent, subject)
    _check_expression(wish, controls)
    message_id = secrets.token_hex(16) if key is None else digest("proposal", person, key)
    lineage = Lineage.root(person, message_id)
    decision = Decision(
        lineage=lineage.child(f"decision/{subject.id}/{person}/0"),
        subject=subject.id,
        occurred_ms=now_ms,
        agent=person,
        agent_version=VERSION,
        intent=wish.intent,
        parameters=wish.parameters,
        confidence=1.0,
        because=wish.because,
        still_when=wish.still_when,
    )
    return Proposed(
        lineage=lineage,
        subject=subject.id,
        occurred_ms=now_ms,
        context_id="",
        agent=person,
        agent_version=VERSION,
        decisions=(decision,),
    )


def _check_fit(wish: _Proposal, intent: Intent, subject: Subject) -> None:
    if subject.kind != intent.subject_kind:
        raise InvalidMessage(
            "subject_kind",
            f"{intent.name} is for subjects of the kind {intent.subject_kind}, not {subject.kind}",
            field="subject",
            cure=f"Name one as {intent.subject_kind}/NAME.",
        )
    said = msgspec.json.encode(wish.parameters)
    if len(said) > PROPOSAL_BYTES_MAX:
        raise InvalidMessage(
            "too_large",
            f"the parameters have {len(said)} bytes, more than {PROPOSAL_BYTES_MAX}",
            field="parameters",
            cure="Send a reference to what is large.",
        )
    try:
        intent.parameters.check(wish.parameters)
    except SchemaViolation as exc:
        raise InvalidMessage(
            "parameters_invalid",
            exc.detail,
            field=f"parameters.{exc.field}" if exc.field else "parameters",
            cure=f"Send parameters as the intent {intent.name} declares them.",
        ) from exc


def _check_expression(wish: _Proposal, controls: Controls) -> None:
    try:
        if wish.still_when is not None:
            controls.program(wish.still_when)
    except ExpressionInvalid as exc:
        raise InvalidMessage(
            "expression_invalid", f"still_when: {exc}", field="still_when", cure="Write CEL, as rules do."
        ) from exc


def _is_known(recorded: Sequence[Kept], proposed: Proposed) -> bool:
    """Whether this very proposal was recorded. Raises ProblemError when another one has its key."""
    for kept in recorded:
        if kept.message.type != DECISION_PROPOSED or kept.message.source != proposed.agent:
            continue
        before = proposed_of(decode_event(kept.message.body, kept.message.recorded_ms))
        if _said(before) != _said(proposed):
            raise _key_used()
        return True
    return False


def _said(proposed: Proposed) -> tuple[Any, ...]:
    [decision] = proposed.decisions
    return proposed.subject, decision.intent, decision.parameters, decision.because, decision.still_when


def _key_used() -> ProblemError:
    return ProblemError(
        422,
        "idempotency_key_used",
        "another proposal was made with this Idempotency-Key; this one was not taken",
        "Give every proposal a key of its own, and repeat it only with the same content.",
        field="Idempotency-Key",
    )


def _not_yet() -> ProblemError:
    return ProblemError(
        503,
        "no_controls",
        "no workspace is in force yet, so nothing can be proposed",
        "Try again; see GET /health/ready.",
        headers={"Retry-After": "1"},
    )
