"""The shape of `agents/*.yaml` that begins with `llm:`: an agent that asks a language model.

Nothing here has behaviour; `agents.llm` gives it meaning.
"""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from control_plane.catalogue.definitions import (
    EVENT_TYPE_PATTERN,
    Duration,
    EventType,
    ExpectationDefinition,
    Expression,
    Name,
)

# A text with a pattern must not stand in a union with a list; see `catalogue.definitions`.
_EventTypeBesideList = Annotated[
    str,
    Meta(
        max_length=128,
        description="Past tense, as in service.started.",
        extra_json_schema={"pattern": EVENT_TYPE_PATTERN},
    ),
]
Prose = Annotated[str, Meta(min_length=1, max_length=4000, description="Text for the model.")]
Url = Annotated[
    str, Meta(pattern=r"^https?://[^\s/?#]+[^\s?#]*$", max_length=500, description="http://HOST/v1 or https://HOST/v1.")
]
Variable = Annotated[
    str, Meta(pattern=r"^[A-Z][A-Z0-9_]*$", max_length=128, description="The name of an environment variable.")
]
Price = Annotated[float, Meta(ge=0.0, le=10_000.0)]


class _Strict(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Base of every definition: unknown keys are refused."""


class PricesDefinition(_Strict, frozen=True):
    """What a million tokens cost."""

    input: Price
    output: Price


class ModelDefinition(_Strict, frozen=True):
    """Which model, and where. Without `key_env` no key is sent. `extra` goes into each request as it stands."""

    name: Annotated[str, Meta(min_length=1, max_length=200)]
    url: Url
    key_env: Variable | None = None
    api: Literal["chat", "responses"] = "chat"
    temperature: Annotated[float, Meta(ge=0.0, le=2.0)] | None = None
    answer_tokens_max: Annotated[int, Meta(ge=32, le=32_768)] = 400
    prices: PricesDefinition | None = None
    extra: dict[str, Any] = {}


class BudgetDefinition(_Strict, frozen=True):
    """What the agent may use up, over all subjects. Once it is used up, nobody is asked until its window has passed."""

    tokens_per_hour: Annotated[int, Meta(ge=1, le=1_000_000_000)] | None = None
    cost_per_day: Annotated[float, Meta(gt=0.0, le=1_000_000.0)] | None = None


class LlmDefinition(_Strict, frozen=True):
    """An agent that asks a language model, when `when` holds and at most once `once_within` about each subject."""

    llm: Name
    version: str
    on: _EventTypeBesideList | list[EventType]
    intents: Annotated[list[Name], Meta(min_length=1, max_length=16)]
    goal: Prose
    prompt: Name
    model: ModelDefinition
    budget: BudgetDefinition
    persona: Prose | None = None
    when: Expression = "true"
    reads: list[Name] = []
    once_within: Duration = "1m"
    timeout: Duration = "20s"
    in_flight_max: Annotated[int, Meta(ge=1, le=64)] = 4
    group: Name | None = None
    expects: ExpectationDefinition | None = None
    still_when: Expression | None = None


class GrantedIntent(_Strict, frozen=True):
    """What a model is told of an intent that it may propose."""

    subject_kind: str
    parameters: dict[str, Any]
    description: str = ""


class LlmInForce(LlmDefinition, frozen=True, kw_only=True):
    """The agent with the text of its prompt, and what it takes from the intents that it is granted."""

    prompt_text: str = ""
    granted: dict[str, GrantedIntent] = {}
