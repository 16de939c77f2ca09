"""What REST answers with: recorded messages as people and programs read them. Times are RFC 3339 in UTC."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field


class Recorded(BaseModel):
    """Where a message stands, and in which flow."""

    sequence: int = Field(description="Its place in the audit store: what `after` and `Last-Event-ID` take.")
    id: str = Field(description="The message id.")
    subject: str
    occurred_at: datetime
    recorded_at: datetime
    correlation_id: str = Field(description="The flow; see /v1/flows/{correlation_id}.")
    causation_id: str | None = Field(description="The message that this one follows from.")
    topic: str
    partition: int
    offset: int
    copies: int = Field(description="How often it stands in its topic: logs deliver at least once.")


class Accepted(BaseModel):
    """An event that is durable on the log."""

    id: str
    source: str
    correlation_id: str = Field(description="The flow that it begins or belongs to.")


class AcceptedEvents(BaseModel):
    """The events of a request, in its order."""

    accepted: list[Accepted]


class EventItem(Recorded):
    """One event."""

    event: dict[str, Any] | None = Field(description="The CloudEvent as it was sent; null when it was no JSON.")


class Reason(BaseModel):
    """Why: a code for machines, a sentence for people, and who said so."""

    code: str
    msg: str
    by: str = ""


class Expectation(BaseModel):
    """What the action is to bring about."""

    where: str
    within_ms: int
    harm: str | None = None
    samples_min: int = 1


class VerdictItem(Recorded):
    """The ruling on a decision."""

    decision_id: str
    answer: Literal["allow", "deny", "escalate", "hold"]
    stage: str = Field(description="The step of the order that ended it.")
    reasons: list[Reason]
    controls_revision: str
    policy_revision: str
    problem: str | None


class VerdictDetail(VerdictItem):
    """The same with all that policy was asked."""

    policy_input: dict[str, Any] | None


class OutcomeItem(Recorded):
    """What came of a command."""

    command_id: str
    status: Literal["succeeded", "failed", "unknown", "expired", "refused", "compensated"]
    attempts: int
    detail: str
    executor: str
    begun_at: datetime | None = Field(description="When the last attempt began, by the executor's clock.")


class EffectItem(Recorded):
    """Whether an action did what its decision promised."""

    decision_id: str
    command_id: str
    agent: str
    intent: str
    effect: Literal["effective", "ineffective", "harmful", "unknown"]
    samples: int
    because: str


class DecisionItem(Recorded):
    """A proposal and what became of it."""

    agent: str
    agent_version: str
    intent: str
    parameters: dict[str, Any]
    confidence: float
    because: str
    expects: Expectation | None
    still_when: str | None
    context_digest: str
    controls_revision: str
    prompt_hash: str = Field(
        default="", description="Identifies what a language model was told beside the context; empty for other agents."
    )
    own: Any = Field(
        default=None,
        description="What the agent kept of the subject before the event, such as the state of a rule; null when it "
        "kept nothing.",
    )
    verdict: VerdictItem | None = Field(description="Null until it is recorded.")


class CommandItem(Recorded):
    """An allowed decision on its way to an executor, and what came of it."""

    decision_id: str
    agent: str
    intent: str
    parameters: dict[str, Any]
    executor: str
    action_class: str
    idempotent: bool
    deadline_at: datetime
    controls_revision: str
    outcome: OutcomeItem | None = Field(description="Null until it is recorded.")


class DecisionDetail(DecisionItem):
    """A decision with everything that followed from it."""

    verdict: VerdictDetail | None
    command: CommandItem | None
    effect: EffectItem | None


class CommandDetail(CommandItem):
    """A command with the effect that was found."""

    effect: EffectItem | None


class ResolutionItem(BaseModel):
    """What was done about a dead letter. `to_*` is where the record went, if it was given back."""

    how: Literal["redriven", "discarded"]
    by: str
    because: str
    at: datetime
    to_topic: str | None
    to_partition: int | None
    to_offset: int | None


class DeadLetterItem(Recorded):
    """What could not be processed, and why. `from_*` is where the record stands; `copies` says how often it was
    buried."""

    state: Literal["open", "redriven", "discarded"]
    resolution: ResolutionItem | None = Field(description="Null while it is open.")
    again: str | None = Field(description="The letter that the record became when it was given back.")

    from_topic: str
    from_partition: int
    from_offset: int
    code: str
    detail: str
    field: str | None
    cure: str
    agent: str | None = Field(description="The agent that failed on it, if it was one.")
    record_bytes: int


class Objection(BaseModel):
    """Why a dead letter cannot go back to the loop as things are now."""

    code: str
    detail: str
    field: str | None
    cure: str


class DeadLetterDetail(DeadLetterItem):
    """The same with its record."""

    record: str = Field(description="The record as text; what is no UTF-8 in it is replaced.")
    record_base64: str = Field(description="The record as it was; of a large one the beginning.")
    brought: dict[str, Any] | None = Field(description="What a trigger knew of it beside its bytes.")
    objection: Objection | None = Field(description="Null when it can be redriven.")


class SweptLetter(Objection):
    """A letter that stays as it is, and why."""

    id: str


class SweptLetters(BaseModel):
    """What became of open letters that were chosen by what they have in common; in a dry run, what would."""

    dry_run: bool
    done: list[str]
    refused: list[SweptLetter]
    next_after: int | None = Field(description="`after` of the next request; null when no letter is left.")


class MessageItem(Recorded):
    """Any message, as it was recorded."""

    type: str
    source: str
    data: Any = Field(description="The data of the message; null when it was no JSON.")


class Listing(BaseModel):
    """One page of a list."""

    next_after: int | None = Field(
        description="`after` of the next page; null on the last. The Link header says the same."
    )


class EventList(Listing):
    """Events."""

    items: list[EventItem]


class DecisionList(Listing):
    """Decisions."""

    items: list[DecisionItem]


class CommandList(Listing):
    """Commands."""

    items: list[CommandItem]


class EffectList(Listing):
    """Effects."""

    items: list[EffectItem]


class DeadLetterList(Listing):
    """Dead letters."""

    items: list[DeadLetterItem]


class MessageList(Listing):
    """Messages of any kind."""

    items: list[MessageItem]


class SubjectView(MessageList):
    """What is recorded of a subject: as it stands, and every message about it."""

    last_event: EventItem | None = Field(description="The newest event about it, outcomes that came back among them.")
    last_decision: DecisionItem | None = Field(description="The newest proposal, with its verdict.")
    live_commands: list[CommandItem] = Field(description="Of its newest commands those without an outcome.")
    open_dead_letters: int = Field(description="What could not be processed about it and nobody has resolved.")


class Live(BaseModel):
    """The process answers."""

    live: bool


class Ready(BaseModel):
    """The service does its work."""

    ready: bool
