"""Webhooks, as whoever serves HTTP sees them: a door, and what becomes of what came through it.

A webhook with a secret of its own opens with that secret and with nothing else; one without opens with the key of the
service. Whoever serves it asks `admits` before the body is read, and `authentic` once it was: only then `receive`.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

from msgspec import Struct

from control_plane.errors import InvalidMessage
from control_plane.messages import Event


class NotTaken(Struct, frozen=True, kw_only=True):
    """One thing of a request that became a dead letter instead of an event."""

    place: str
    reason: InvalidMessage


class Received(Struct, frozen=True, kw_only=True):
    """What a request came to, all of it durable. `passed_by` counts items that the definition does not ask for."""

    accepted: Sequence[Event]
    not_taken: Sequence[NotTaken]
    passed_by: int


class Webhook(Protocol):
    """One declared webhook."""

    name: str
    binding: Literal["json", "cloudevents"]
    """Whether a request is one JSON text, or what the CloudEvents HTTP binding says."""
    has_secret: bool
    body_bytes_max: int

    def admits(self, headers: Mapping[str, str]) -> bool:
        """Whether the headers, lower-case, are those of somebody whose body is worth reading."""

    def authentic(self, headers: Mapping[str, str], body: bytes) -> bool:
        """Whether the request comes from somebody who knows the secret."""

    async def receive(self, headers: Mapping[str, str], texts: Sequence[bytes]) -> Received:
        """Make events of JSON texts and keep the rest as dead letters; returns once all of it is durable.

        Raises BackboneUnavailable, StorageFull: then the sender should send it again."""

    async def refuse(self, body: bytes, reason: InvalidMessage) -> None:
        """Keep a body that is nothing of ours as a dead letter. Raises as `receive`."""
