"""The shape of what users write in YAML, one struct per file kind.

They are the source of the JSON Schemas that editors use, and what control topics carry (as JSON). Unknown keys are
refused. Nothing here has behaviour: `catalogue.intent`, `state.projections` and the agents give it meaning.
"""

from typing import Annotated, Any

from msgspec import Meta, Struct, field

Name = Annotated[
    str, Meta(pattern=r"^[a-z][a-z0-9_]*$", max_length=64, description="Lower case, digits and underscores.")
]
EVENT_TYPE_PATTERN = r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+$"
_PAST_TENSE = "Past tense, as in service.started."
EventType = Annotated[str, Meta(pattern=EVENT_TYPE_PATTERN, max_length=128, description=_PAST_TENSE)]
# A text with a pattern must not stand in a union with a list or a mapping: msgspec 0.22 takes the type of what is in it
# for a Python object, and reads and writes memory that is not its own when garbage is collected. So the pattern is only
# told to editors here, and `workspace.rule_checks` looks. `tests/guard/test_types.py` holds it.
_EventTypeBesideList = Annotated[
    str, Meta(max_length=128, description=_PAST_TENSE, extra_json_schema={"pattern": EVENT_TYPE_PATTERN})
]
Duration = Annotated[str, Meta(pattern=r"^\d+(\.\d+)?(ms|s|m|h)$", description="500ms, 5s, 10m or 24h.")]
Expression = Annotated[str, Meta(min_length=1, max_length=2000, description="A CEL expression.")]
Share = Annotated[float, Meta(ge=0.0, le=1.0)]
ReferenceValue = str | int | float | bool | None | list[str | int | float | bool]
Count = Annotated[int, Meta(ge=1, le=1_000_000)]


class _Strict(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Base of every definition: unknown keys are refused."""


class FrequencyLimit(_Strict, frozen=True):
    """At most `max` commands within any `window`."""

    max: Annotated[int, Meta(ge=1, le=32)]
    window: Duration


class LimitsDefinition(_Strict, frozen=True):
    """How often and how widely an intent may be carried out."""

    per_subject: FrequencyLimit | None = None
    cooldown: Duration | None = None
    fleet_share_max: Share | None = None


class IntentDefinition(_Strict, frozen=True):
    """`intents/*.yaml`: one kind of action."""

    intent: Name
    subject_kind: Name
    executor: Name
    description: str = ""
    parameters: dict[str, Any] = field(default_factory=lambda: {"type": "object", "additionalProperties": False})
    action_class: Name | None = None
    idempotent: bool = False
    reversible: bool = False
    deadline: Duration = "30s"
    context_age_max: Duration = "1m"
    limits: LimitsDefinition = LimitsDefinition()


class WindowDefinition(_Strict, frozen=True, kw_only=True):
    """A window of event time: the last `window`; or with `tumbling` the present one so far, counted from the epoch.

    An event that comes later than `lateness` does not count; by default, one that is older than the window.
    """

    window: Duration
    tumbling: bool = False
    lateness: Duration | None = None


class CountDefinition(WindowDefinition, frozen=True, kw_only=True):
    """How many events within a window; `of` narrows it to one event type."""

    of: EventType | None = None


class WindowedDefinition(WindowDefinition, frozen=True, kw_only=True):
    """A figure over the values of `of` within a window."""

    of: Expression


class QuantileDefinition(WindowedDefinition, frozen=True, kw_only=True):
    """The number that a share `q` of the values within a window do not exceed."""

    q: Share


class KeptDefinition(_Strict, frozen=True, kw_only=True):
    """One value as it is, if it takes no more than `bytes_max`."""

    of: Expression
    bytes_max: Annotated[int, Meta(ge=16, le=16_384)] = 512


class SeenDefinition(_Strict, frozen=True):
    """When an event occurred; `of` narrows it to one event type."""

    of: EventType | None = None


class FieldDefinition(_Strict, frozen=True):
    """One field of a row part: exactly one way of folding it."""

    last: Expression | KeptDefinition | None = None
    first: Expression | KeptDefinition | None = None
    count: CountDefinition | None = None
    rate: CountDefinition | None = None
    min: WindowedDefinition | None = None
    max: WindowedDefinition | None = None
    mean: WindowedDefinition | None = None
    quantile: QuantileDefinition | None = None
    distinct: WindowedDefinition | None = None
    first_seen: SeenDefinition | None = None
    last_seen: SeenDefinition | None = None


class RowDefinition(_Strict, frozen=True):
    """`rows/*.yaml`: what is remembered of a subject."""

    row: Name
    on: Annotated[list[EventType], Meta(min_length=1)]
    fields: Annotated[dict[Name, FieldDefinition], Meta(min_length=1)]


class FleetDefinition(_Strict, frozen=True):
    """`fleets/*.yaml`: which subjects count together, and when one of them counts as healthy."""

    fleet: Name
    members: Expression
    healthy: Expression | None = None


class ReferenceDefinition(_Strict, frozen=True):
    """`reference/*.yaml`: a table that events are looked up in. `key` names the field that tells its rows apart."""

    reference: Name
    key: Name
    rows: Annotated[list[dict[Name, ReferenceValue]], Meta(min_length=1)]


class CountCondition(_Strict, frozen=True):
    """The condition must have matched `min` times within `window`."""

    min: Annotated[int, Meta(ge=1, le=64)]
    window: Duration


class RateCondition(_Strict, frozen=True):
    """How many matches come `per` so much time, measured over `window`: more than `above`, or fewer than `below`."""

    per: Duration
    above: Annotated[float, Meta(ge=0.0, le=1e9)] | None = None
    below: Annotated[float, Meta(gt=0.0, le=1e9)] | None = None
    window: Duration | None = None


class ProposalDefinition(_Strict, frozen=True):
    """What a rule proposes when it fires. `because` may hold {expressions}, and so may `subject`: another one to act
    on, as kind/name."""

    intent: Name
    because: Annotated[str, Meta(min_length=1, max_length=500)]
    parameters: dict[str, Any] = {}
    confidence: Share = 1.0
    subject: Annotated[str, Meta(min_length=3, max_length=500)] | None = None


class ExpectationDefinition(_Strict, frozen=True):
    """What should become true, and what would be harm, within a window after the outcome."""

    where: Expression
    within: Duration
    harm: Expression | None = None
    samples_min: Count = 1


class RuleDefinition(_Strict, frozen=True, rename={"for_": "for"}):
    """`agents/*.yaml`: an agent without code."""

    rule: Name
    version: str
    on: _EventTypeBesideList | list[EventType]
    propose: ProposalDefinition
    when: Expression = "true"
    for_: Duration | None = None
    count: CountCondition | None = None
    rate: RateCondition | None = None
    absent: Duration | None = None
    once_within: Duration | None = None
    reads: list[Name] = []
    repeat_interval: Duration | None = None
    keep_firing_for: Duration | None = None
    expects: ExpectationDefinition | None = None
    still_when: Expression | None = None


class RuleInForce(RuleDefinition, frozen=True, kw_only=True, rename={"for_": "for"}):
    """A rule with what it takes from its intent: for how long an event may be acted on."""

    context_age_max: Duration = "1m"
