"""Is a request's batch of events one that the loop may fold? All of it, or none: the checks are those of intake."""

from collections.abc import Sequence

from control_plane.catalogue import Controls
from control_plane.errors import InvalidMessage
from control_plane.loop.intake import admit
from control_plane.messages import Event


def admit_all(raws: Sequence[bytes], now_ms: int, controls: Controls) -> list[Event]:
    """All of them, or none: raises InvalidMessage for the first that is wrong, with its place in the batch."""
    events = []
    for n, raw in enumerate(raws):
        try:
            events.append(admit(raw, now_ms, controls))
        except InvalidMessage as exc:
            raise exc if len(raws) == 1 else _at(n, exc) from exc
    return events


def _at(n: int, exc: InvalidMessage) -> InvalidMessage:
    field = f"[{n}].{exc.field}" if exc.field else f"[{n}]"
    return InvalidMessage(exc.code, f"event {n} of the batch: {exc.detail}; none was taken", field=field, cure=exc.cure)
