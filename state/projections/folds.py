"""The ways of folding that are exact: count, min, max and mean over a window; last, first, first and last seen.

Each is a pair of closures, made once: `add` folds an event, `view` shows the value. All of them but `mean` give the
same in whatever order the events come; of a mean, the last digits depend on the order in which floats are added.
"""

import math
from collections.abc import Callable
from typing import Any

import msgspec

from control_plane.messages.wire import utc
from state.projections.fold import MISSED, NUMBER_BYTES_MAX, Fold, View
from state.projections.windows import CELLS_BYTES_MAX, CELLS_MAX, Window, adding, seeing

_LIST_BYTES = 1

_encoder = msgspec.msgpack.Encoder()


def counting(window: Window) -> Fold:
    """How many events there were."""
    return Fold(
        adding(window, 0, lambda cell, _: cell + 1, numbers=False), CELLS_BYTES_MAX + CELLS_MAX * NUMBER_BYTES_MAX
    )


def view_count(window: Window) -> View:
    """None is a count as well: 0."""
    see = seeing(window)
    return lambda kept, now_ms: sum(see(kept, now_ms))


def view_rate(window: Window) -> View:
    """Events per second, over the whole length of the window."""
    see, length_s = seeing(window), window.length_ms / 1_000
    return lambda kept, now_ms: sum(see(kept, now_ms)) / length_s


def keeping_least(window: Window) -> Fold:
    """The least number of each cell."""
    add = adding(window, None, lambda cell, value: value if cell is None or value < cell else cell, numbers=True)
    return Fold(add, CELLS_BYTES_MAX + CELLS_MAX * NUMBER_BYTES_MAX)


def keeping_greatest(window: Window) -> Fold:
    """The greatest number of each cell."""
    add = adding(window, None, lambda cell, value: value if cell is None or value > cell else cell, numbers=True)
    return Fold(add, CELLS_BYTES_MAX + CELLS_MAX * NUMBER_BYTES_MAX)


def view_of_cells(window: Window, choose: Callable[[list[Any]], Any]) -> View:
    """One number of those that the cells hold."""
    see = seeing(window)

    def view(kept: Any, now_ms: int) -> Any:
        found = [cell for cell in see(kept, now_ms) if cell is not None]
        return choose(found) if found else None

    return view


def averaging(window: Window) -> Fold:
    """How many numbers there were in each cell, and their sum."""

    def grow(cell: Any, value: float) -> Any:
        return [1, value] if cell is None else [cell[0] + 1, cell[1] + value]

    cell_bytes = _LIST_BYTES + 2 * NUMBER_BYTES_MAX
    return Fold(adding(window, None, grow, numbers=True), CELLS_BYTES_MAX + CELLS_MAX * cell_bytes)


def mean_of(cells: list[Any]) -> float:
    """The mean of what `averaging` keeps."""
    count: int = sum([cell[0] for cell in cells])
    return math.fsum([cell[1] for cell in cells]) / count


def keeping_last(value_bytes_max: int) -> Fold:
    """The value that occurred last. Of two at the same time, the one that stands later in the log.

    A value that is too large is not kept, and neither is the one before it: that one is no longer the last.
    """

    def add(kept: Any, value: Any, occurred_ms: int, now_ms: int) -> Any:
        if _is_nothing(value):
            return kept, MISSED
        is_last = kept is None or occurred_ms >= kept[0]
        if _fits(value, value_bytes_max):
            return [occurred_ms, value] if is_last else kept
        return [occurred_ms, None] if is_last else kept, MISSED

    return Fold(add, _LIST_BYTES + NUMBER_BYTES_MAX + value_bytes_max)


def keeping_first(value_bytes_max: int) -> Fold:
    """The value that occurred first. Of two at the same time, the one that stands earlier in the log."""

    def add(kept: Any, value: Any, occurred_ms: int, now_ms: int) -> Any:
        if _is_nothing(value):
            return kept, MISSED
        is_first = kept is None or occurred_ms < kept[0]
        if _fits(value, value_bytes_max):
            return [occurred_ms, value] if is_first else kept
        return [occurred_ms, None] if is_first else kept, MISSED

    return Fold(add, _LIST_BYTES + NUMBER_BYTES_MAX + value_bytes_max)


def view_value(kept: Any, now_ms: int) -> Any:
    """The value that was kept, if it was not too large."""
    return None if kept is None else kept[1]


def seen(first: bool) -> Fold:
    """When an event occurred first, or last."""

    def add_first(kept: Any, value: Any, occurred_ms: int, now_ms: int) -> Any:
        return occurred_ms if kept is None or occurred_ms < kept else kept

    def add_last(kept: Any, value: Any, occurred_ms: int, now_ms: int) -> Any:
        return occurred_ms if kept is None or occurred_ms > kept else kept

    return Fold(add_first if first else add_last, NUMBER_BYTES_MAX)


def view_time(kept: Any, now_ms: int) -> str | None:
    """When it was, as RFC 3339 in UTC: expressions and policies read it, and as text it sorts as time does."""
    return None if kept is None else utc(kept).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _is_nothing(value: Any) -> bool:
    """Null, and what is no number although it has the type of one."""
    return value is None or (value.__class__ is float and not math.isfinite(value))


def _fits(value: Any, bytes_max: int) -> bool:
    """Whether a value can be stored in so many bytes."""
    kind = value.__class__
    if kind is float or kind is bool:
        return True
    if kind is str and len(value) < bytes_max // 4 - 4:
        return True
    try:
        return len(_encoder.encode(value)) <= bytes_max
    except (OverflowError, UnicodeEncodeError):
        return False  # A whole number beyond 64 bits; half of a pair of surrogates.
