"""What every trigger is: something that runs, and publishes events through what it was given."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from itertools import count
from secrets import token_hex
from typing import Any, Protocol

from control_plane.causality import Lineage
from control_plane.messages import Event

Publish = Callable[[Sequence[Event]], Awaitable[None]]
"""Makes events durable. Raises BackboneUnavailable or StorageFull when it cannot."""


class Trigger(Protocol):
    """One declared trigger."""

    name: str

    async def run(self) -> None:
        """Publish until cancelled. Raises what cannot get better by waiting; then the service stops."""


class EventMint:
    """Makes the events of one trigger; no two have the same id, whatever was made before a restart."""

    def __init__(self, trigger: str) -> None:
        self._source = f"trigger/{trigger}"
        self._run = token_hex(6)
        self._numbers = count()

    def event(self, event_type: str, subject: str, data: dict[str, Any]) -> Event:
        """An event that happens now."""
        return Event(
            lineage=Lineage.root(self._source, f"{self._run}-{next(self._numbers)}"),
            type=event_type,
            subject=subject,
            occurred_at=datetime.now(UTC),
            data=data,
        )
