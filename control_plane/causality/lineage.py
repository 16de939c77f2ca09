"""Who a message is, what it follows from, and which flow it belongs to.

Identity inside the loop is derived, never drawn: a record that is delivered twice gives the same messages.
"""

from hashlib import blake2b

from msgspec import Struct

SOURCE = "setpoint"
"""CloudEvents `source` of everything that the loop itself says."""

HOP_COUNT_MAX = 16
"""Generations that one root may have: beyond it a decision is denied (`design.md`, Defaults)."""


def digest(*parts: str) -> str:
    """128 bits of BLAKE2b over the parts, in hex (32 characters). Parts are kept apart, so ("a", "bc") is not ("ab",
    "c")."""
    return blake2b("\x1f".join(parts).encode(), digest_size=16).hexdigest()


class Lineage(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Identity and ancestry of one message.

    `source` and `message_id` together are the identity, as in CloudEvents. `hop_count` counts the rounds through the
    loop since the root: it rises when an outcome or an effect comes back. `trail` holds a digest of (agent, subject,
    intent) for each decision among the ancestors, oldest first.
    """

    source: str
    message_id: str
    correlation_id: str
    causation_id: str | None = None
    hop_count: int = 0
    trail: tuple[str, ...] = ()
    traceparent: str = ""

    @classmethod
    def root(cls, source: str, message_id: str, *, correlation_id: str = "", traceparent: str = "") -> "Lineage":
        """The lineage of a message that follows from nothing that we know."""
        return cls(
            source=source,
            message_id=message_id,
            correlation_id=correlation_id or digest(source, message_id),
            traceparent=traceparent,
        )

    def child(self, name: str) -> "Lineage":
        """The lineage of a message that follows from this one, in the same round of the loop.

        `name` must be unique among the children of one parent, such as `decision/latency_guard/0`.
        """
        message_id = digest(self.source, self.message_id, name)
        return Lineage(
            source=SOURCE,
            message_id=message_id,
            correlation_id=self.correlation_id,
            causation_id=self.message_id,
            hop_count=self.hop_count,
            trail=self.trail,
            traceparent=_child_traceparent(self.traceparent, self.correlation_id, message_id),
        )

    def returning(self, name: str, step: str) -> "Lineage":
        """The lineage of a message that comes back into the loop: one generation on, with `step` added to the trail."""
        came_back = self.child(name)
        return Lineage(
            source=came_back.source,
            message_id=came_back.message_id,
            correlation_id=came_back.correlation_id,
            causation_id=came_back.causation_id,
            hop_count=self.hop_count + 1,
            trail=(*self.trail, step)[-HOP_COUNT_MAX:],
            traceparent=came_back.traceparent,
        )


def trail_step(agent: str, subject: str, intent: str) -> str:
    """How a decision is remembered among its descendants: 8 hex characters."""
    return digest(agent, subject, intent)[:8]


def _child_traceparent(parent: str, correlation_id: str, message_id: str) -> str:
    """A W3C traceparent in the parent's trace; a flow that came without one gets a trace id from its correlation id."""
    trace_id = parent[3:35] if len(parent) == 55 else digest("trace", correlation_id)
    return f"00-{trace_id}-{message_id[:16]}-01"
