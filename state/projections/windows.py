"""Windows of event time, as cells: what is kept of a window is one cell per twentieth of it, oldest first.

A sliding window ends at log time. It holds everything that occurred within its length, and at most a further twentieth
before that: cells leave it whole. A tumbling one begins at a multiple of its length since the epoch, and is one cell.

What is kept is `[number of the newest cell, cell, cell, ...]`; cell n begins at n widths since the epoch. Nothing is
changed in place.
"""

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from state.projections.fold import LATE, MISSED, Add, is_number

CELLS_PER_WINDOW = 20
"""The edge of a sliding window is exact to a twentieth of its length."""

CELLS_MAX = CELLS_PER_WINDOW + 1
"""Cells that are kept: those inside the window, and the one that its edge runs through."""

WINDOW_MS_MIN = CELLS_PER_WINDOW
"""A cell is a millisecond at least."""

CELLS_BYTES_MAX = 3 + 9
"""What a list of cells takes without the cells."""


class Window(Struct, frozen=True, kw_only=True):
    """A window of event time. An event that is older than `lateness_ms` when it arrives does not count in it."""

    length_ms: int
    tumbling: bool = False
    lateness_ms: int | None = None

    @property
    def width_ms(self) -> int:
        """What one cell covers."""
        return self.length_ms if self.tumbling else -(-self.length_ms // CELLS_PER_WINDOW)

    @property
    def reach_ms(self) -> int:
        """How far back from now the oldest cell lies."""
        return 0 if self.tumbling else self.length_ms

    @property
    def lateness_max_ms(self) -> int:
        """An event of an older cell never counts; one that is late beyond this does not either."""
        return 2 * self.length_ms if self.lateness_ms is None else self.lateness_ms


def adding(window: Window, blank: Any, grow: Callable[[Any, Any], Any], *, numbers: bool) -> Add:
    """Folds each event into the cell of its own time: `grow(cell, value)` gives the new cell. A cell is never changed.

    With `numbers`, a value that is no number is missed; the others come as floats.
    """
    width_ms, reach_ms, lateness_max_ms = window.width_ms, window.reach_ms, window.lateness_max_ms

    def add(kept: Any, value: Any, occurred_ms: int, now_ms: int) -> Any:
        if numbers:
            if not is_number(value):
                return kept, MISSED
            value = value + 0.0  # Of a whole number a float, and of minus zero zero.
        number, oldest = occurred_ms // width_ms, (now_ms - reach_ms) // width_ms
        if number < oldest or now_ms - occurred_ms > lateness_max_ms:
            return kept, LATE
        cells = reaching(kept, number, oldest, blank)
        at = number - cells[0] - 1
        cells[at] = grow(cells[at], value)
        return cells

    return add


def reaching(kept: Any, number: int, oldest: int, blank: Any) -> list[Any]:
    """A copy of what is kept, without cells before `oldest` and with a cell `number`, at `number - newest - 1`."""
    if kept is None or kept[0] < oldest:
        return [number, blank]
    newest = kept[0]
    first = newest - len(kept) + 2
    if number == newest and first >= oldest:
        copied: list[Any] = kept.copy()
        return copied
    cells = kept[1:] if first >= oldest else kept[1 + oldest - first :]
    first = newest - len(cells) + 1
    if number > newest:
        return [number, *cells, *[blank] * (number - newest)]
    return [newest, *[blank] * (first - number), *cells]


def seeing(window: Window) -> Callable[[Any, int], list[Any]]:
    """Gives the cells that are in the window at a time."""
    width_ms, reach_ms = window.width_ms, window.reach_ms

    def see(kept: Any, now_ms: int) -> list[Any]:
        if kept is None:
            return []
        gone = (now_ms - reach_ms) // width_ms - (kept[0] - len(kept) + 2)
        cells: list[Any] = kept[1:] if gone <= 0 else kept[1 + gone :]
        return cells

    return see
