"""All that an agent may know: one event and a frozen snapshot of its subject's row."""

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec
from msgspec import Struct

from control_plane.causality import Lineage, digest
from control_plane.messages.decision import Decision, Expectation
from control_plane.messages.event import TICK, Event
from control_plane.messages.subject import Subject

_encoder = msgspec.msgpack.Encoder()


class ExpressionMiss(Exception):
    """An expression met a missing field, a wrong type or a division by zero: it does not match."""


class Evaluates(Protocol):
    """A compiled expression; see `control_plane.ports.expressions.Program`."""

    def evaluate(self, scope: Any) -> Any: ...


class Context(Struct, frozen=True, kw_only=True):
    """What one agent is shown. Nothing in it changes, and nothing else may be known.

    `rows` holds the declared row parts by name, `ages_ms` the milliseconds of log time since each was last folded,
    `own` what the agent itself keeps in the row (rule states), `live` the action classes with a command under way.
    `now_ms` is log time, milliseconds since the epoch. `heard` is when each event source was last heard, of whatever
    subject. `scope` is this event for compiled expressions; it is opaque. `journal` is what a slow agent asks the world
    through (`control_plane.ports.journal`). The three are never on the wire.

    An agent that asked to be woken is shown a tick: an event of the partition's owner, about this subject and without
    data.
    """

    agent: str
    agent_version: str
    event: Event
    subject: Subject
    now_ms: int
    rows: Mapping[str, Mapping[str, Any]]
    ages_ms: Mapping[str, int]
    own: Any = None
    live: tuple[str, ...] = ()
    action_version: int = 0
    scope: Any = None
    heard: Mapping[str, int] = {}
    journal: Any = None

    @property
    def by_tick(self) -> bool:
        """Whether nothing happened but that time has passed."""
        return self.event.type == TICK

    @property
    def lineage(self) -> Lineage:
        """Who the context is, once it is sent to an agent that runs apart."""
        return self.event.lineage.child(f"context/{self.event.subject}/{self.agent}")

    @property
    def digest(self) -> str:
        """Identifies the snapshot; it goes into each decision."""
        return digest(_encoder.encode((self.rows, self.action_version)).hex())[:16]

    def matches(self, program: "Evaluates") -> bool:
        """Whether a compiled expression holds; one that meets a missing field does not."""
        return self.value(program) is True

    def value(self, program: "Evaluates") -> Any:
        """The value of a compiled expression on this event; None when it meets a missing field or a wrong type."""
        try:
            return program.evaluate(self.scope)
        except ExpressionMiss:
            return None

    def propose(
        self,
        intent: str,
        *,
        because: str,
        parameters: Mapping[str, Any] | None = None,
        confidence: float = 1.0,
        expects: Expectation | None = None,
        still_when: str | None = None,
        nth: int = 0,
        prompt_hash: str = "",
        subject: str | None = None,
    ) -> Decision:
        """A decision of this agent on this event. `nth` tells apart several decisions on one event.

        Args:
            intent: name of an intent in the catalogue that the agent is granted.
            because: one sentence for people; recorded, never executed.
            parameters: what the intent's JSON Schema asks for.
            confidence: 0.0 to 1.0.
            expects: what should become true if the action helps.
            still_when: CEL that must still hold when the decision is approved.
            prompt_hash: identifies what a language model was told beside the context.
            subject: another subject to act on, as `kind/name`, of the intent's subject_kind; judged on that one's row.
        """
        return Decision(
            # The subject is part of it: a producer that gives two subjects the same id must not merge their commands.
            lineage=self.event.lineage.child(f"decision/{self.event.subject}/{self.agent}/{nth}"),
            subject=self.event.subject if subject is None else subject,
            occurred_ms=self.now_ms,
            agent=self.agent,
            agent_version=self.agent_version,
            intent=intent,
            parameters=dict(parameters or {}),
            confidence=confidence,
            because=because,
            expects=expects,
            still_when=still_when,
            context_digest=self.digest,
            action_version=self.action_version,
            prompt_hash=prompt_hash,
        )
