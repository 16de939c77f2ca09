"""An agent's proposal, without effect until it is ruled on."""

from typing import Any

from msgspec import Struct

from control_plane.causality import Lineage

DECISIONS_PER_EVENT_MAX = 8
"""Decisions that one agent may make on one event."""


class Expectation(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the action is to bring about: CEL over the subject's rows, judged when the window closes.

    `within_ms` counts from the outcome, in log time. Fewer samples than `samples_min` are `unknown`.
    """

    where: str
    within_ms: int
    harm: str | None = None
    samples_min: int = 1


class Decision(Struct, frozen=True, kw_only=True):
    """One agent's wish to do one thing to one subject. `occurred_ms` is log time, milliseconds since the epoch.

    `fact_ms`, likewise, is when the event happened that the agent was shown, where the decision comes as an event of
    its own: from a slow agent, or about another subject.
    `prompt_hash` identifies all that a language model was told beside the context.
    """

    lineage: Lineage
    subject: str
    occurred_ms: int
    fact_ms: int | None = None
    agent: str
    agent_version: str
    intent: str
    parameters: dict[str, Any]
    confidence: float
    because: str
    expects: Expectation | None = None
    still_when: str | None = None
    context_digest: str = ""
    action_version: int = 0
    controls_revision: str = ""
    prompt_hash: str = ""
    own: Any = None
    """What the agent kept of the subject before the event, such as the state of a rule."""
