"""What the owner of a partition of `events.v1` says in it of the partition itself: its taking, time, its controls.

Nothing here is about a subject of the user's. Caretaker and backbones append these; the loop believes them only from
Setpoint itself.
"""

from typing import Any

from control_plane.causality import Lineage
from control_plane.causality.lineage import SOURCE
from control_plane.messages.event import PARTITION_CLAIMED, Event
from control_plane.messages.wire import encode_event, utc


def own_subject(partition: int) -> str:
    """The subject that stands for a partition itself, and the key of its own row."""
    return f"partition/{partition}"


def owner_event(partition: int, event_type: str, now_ms: int, data: dict[str, Any], by: str = "") -> bytes:
    """One such event on the wire. `by` tells apart what several say of a partition in the same millisecond."""
    event = Event(
        lineage=Lineage.root(SOURCE, f"{event_type}/{partition}/{now_ms}{by}"),
        type=event_type,
        subject=own_subject(partition),
        occurred_at=utc(now_ms),
        data=data,
    )
    return encode_event(event)


def claim_of(partition: int, owner: str, now_ms: int) -> bytes:
    """A worker says that the partition is its own from here on."""
    return owner_event(partition, PARTITION_CLAIMED, now_ms, {"owner": owner}, f"/{owner}")


def next_epoch(former: int, now_ms: int) -> int:
    """The number of a taking: above that of the one before it, and of any that was lost together with its log. 0 is
    nobody's."""
    return max(former + 1, now_ms // 1000)
