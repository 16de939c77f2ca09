"""Event in, row out: the projections' parts, and what makes a repeated delivery harmless."""

from msgspec.structs import replace

from control_plane.catalogue import Controls
from control_plane.loop.arrival import Arrival
from control_plane.messages.event import BUILT_IN, SUBJECT_REGISTERED
from control_plane.messages.wire import ms_of
from state.projections import Gaps
from state.rows import Row

NO_GAPS: tuple[tuple[str, Gaps], ...] = ()


def fold(row: Row, arrival: Arrival, controls: Controls) -> tuple[Row, tuple[tuple[str, Gaps], ...]]:
    """The row with the event in its parts, and for each part in how many fields the event does not count."""
    event = arrival.event
    if event.type in BUILT_IN:
        row = _exists(row, event.type == SUBJECT_REGISTERED)
    projections = controls.folds.get(event.type, ())
    if not projections:
        return row, NO_GAPS
    # A producer's clock that runs ahead must not push what others say out of the windows.
    occurred_ms = min(ms_of(event.occurred_at), row.now_ms)
    # What nobody declares any longer would keep its bytes for good.
    declared = controls.projections
    parts = {name: part for name, part in row.parts.items() if name in declared}
    folded_ms = {name: at_ms for name, at_ms in row.folded_ms.items() if name in declared}
    gaps = NO_GAPS
    for projection in projections:
        part = parts.get(projection.name)
        kept = parts[projection.name] = projection.fold(part, event.type, event.data, occurred_ms, row.now_ms)
        folded_ms[projection.name] = row.now_ms
        found = projection.new_gaps(part, kept)
        if found is not None:
            gaps = (*gaps, (projection.name, found))
    return replace(row, parts=parts, folded_ms=folded_ms), gaps


def arrived(row: Row, arrival: Arrival) -> Row:
    """The row with time and offset moved on; time never goes back."""
    return replace(row, applied=arrival.offset, now_ms=max(row.now_ms, arrival.recorded_ms))


def remembered(row: Row, arrival: Arrival) -> Row | None:
    """The row that knows this foreign event when it comes again; None when it has come before."""
    lineage = arrival.event.lineage
    seen = row.seen_with(lineage.source, lineage.message_id)
    return None if seen is None else replace(row, seen=seen)


def _exists(row: Row, registered: bool) -> Row:
    """The row that knows whether its subject exists; agents wait for nothing of one that does no longer."""
    return replace(row, registered=True) if registered else replace(row, registered=False, own={}, timers={})
