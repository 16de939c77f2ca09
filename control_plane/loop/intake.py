"""Is a record an event that the loop may fold? What is not becomes a dead letter with its reason.

`admit` asks the same of what is not on the log yet, and refuses beyond it what only Setpoint itself may say. Says
nothing about what follows from the event.
"""

from control_plane.catalogue import Controls
from control_plane.causality.lineage import SOURCE
from control_plane.errors import InvalidMessage
from control_plane.messages import Event, Proposed, Subject
from control_plane.messages.cancellation import cancellation_of
from control_plane.messages.decision import DECISIONS_PER_EVENT_MAX
from control_plane.messages.event import (
    CANCELLATION_REQUESTED,
    DECISION_PROPOSED,
    EFFECT_JUDGED,
    OUTCOME_PREFIX,
    SHOWN_AGAIN,
    is_reserved,
)
from control_plane.messages.showing import showing_of
from control_plane.messages.subject import OWN_SUBJECT_KIND, check_target
from control_plane.messages.wire import decode_event, effect_of, ms_of, outcome_of, proposed_of
from control_plane.ports.schemas import SchemaViolation

EVENT_FUTURE_MAX_MS = 300_000
"""How far a producer's clock may run ahead of ours."""


def admit(raw: bytes, now_ms: int, controls: Controls) -> Event:
    """An event from outside, before it is appended. Raises InvalidMessage."""
    event = decode_event(raw, now_ms)
    _check_not_ours(event)
    check_event(event, now_ms, controls)
    return event


def check_event(event: Event, recorded_ms: int, controls: Controls) -> Subject:
    """The event's subject. Raises InvalidMessage when the event must not be folded."""
    subject = Subject.parse(event.subject)
    if is_reserved(event.type):
        _check_own(event)
        _check_subject(event)
        return subject
    _check_subject(event)
    _check_type(event, controls)
    ahead_ms = ms_of(event.occurred_at) - recorded_ms
    if ahead_ms > EVENT_FUTURE_MAX_MS:
        raise InvalidMessage(
            "from_future",
            f"the event says that it happens {ahead_ms} ms from now; at most {EVENT_FUTURE_MAX_MS} ms are tolerated",
            field="time",
            cure="Set the producer's clock, or leave time out.",
        )
    return subject


def _check_not_ours(event: Event) -> None:
    if is_reserved(event.type):
        raise InvalidMessage(
            "type_reserved",
            f"only Setpoint itself publishes events of type {event.type!r}",
            field="type",
            cure="Choose another type.",
        )
    if event.lineage.source == SOURCE:
        raise InvalidMessage(
            "source_reserved",
            f"only Setpoint itself speaks as {SOURCE!r}",
            field="source",
            cure="Name the system that the event comes from.",
        )


def _check_subject(event: Event) -> None:
    """Nobody's event may be folded into the row that is a partition's own."""
    if event.subject.startswith(OWN_SUBJECT_KIND):
        raise InvalidMessage(
            "subject_reserved",
            "subjects of the kind partition are Setpoint's own",
            field="subject",
            cure="Choose another kind.",
        )


def _check_own(event: Event) -> None:
    """Types that only Setpoint publishes must have the shape that it gives them."""
    if event.type.startswith(OUTCOME_PREFIX):
        outcome_of(event)
    elif event.type == EFFECT_JUDGED:
        effect_of(event)
    elif event.type == DECISION_PROPOSED:
        _check_proposal(proposed_of(event))
    elif event.type == CANCELLATION_REQUESTED:
        cancellation_of(event)
    elif event.type == SHOWN_AGAIN:
        _check_showing(event)
    else:
        raise InvalidMessage(
            "type_reserved",
            f"events of type {event.type!r} do not belong here",
            field="type",
            cure="Choose another type.",
        )


def _check_proposal(proposed: Proposed) -> None:
    """It may hold only what its own agent wants, and of its own subject but for an answer to a context: what that wants
    of others goes on to them."""
    ids = {decision.lineage.message_id for decision in proposed.decisions}
    answers = bool(proposed.context_id) and proposed.origin is None
    own = all(
        found.agent == proposed.agent and (answers or found.subject == proposed.subject) for found in proposed.decisions
    )
    for found in proposed.decisions:
        check_target(found.subject)
    if not own or len(ids) < len(proposed.decisions) or len(ids) > DECISIONS_PER_EVENT_MAX:
        raise InvalidMessage(
            "proposal_foreign",
            f"the answer of {proposed.agent} on {proposed.subject} holds decisions of others, on others, or too many",
            field="data.decisions",
            cure="Build each decision with context.propose, each with an nth of its own.",
        )


def _check_showing(event: Event) -> None:
    """What is shown again is about the same subject: no step writes two."""
    shown = showing_of(event).event
    if shown.subject != event.subject:
        raise InvalidMessage(
            "showing_foreign",
            f"an event about {shown.subject} is shown again as one about {event.subject}",
            field="data.event.subject",
            cure="Only Setpoint writes such events; find out who wrote this one.",
        )


def _check_type(event: Event, controls: Controls) -> None:
    if event.type not in controls.known_types:
        raise InvalidMessage(
            "type_unknown",
            f"nothing is declared for events of type {event.type!r}",
            field="type",
            cure="Declare a schema, a row or a rule for it in the workspace.",
        )
    schema = controls.schemas.get(event.type)
    if schema is None:
        return
    try:
        schema.check(event.data)
    except SchemaViolation as exc:
        raise InvalidMessage(
            "schema_broken",
            exc.detail,
            field=f"data.{exc.field}" if exc.field else "data",
            cure=f"Send data as schemas/{event.type}.json describes it.",
        ) from exc
