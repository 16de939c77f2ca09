"""The number that a share of all numbers in a window do not exceed: exact while they are few, to within 1 % when many.

Each cell has its histogram, and the whole window one, so that to look is cheap and what leaves the window can be taken
out again. When they take too many bytes, the finest cells become one level coarser. A new cell begins exact, so the
window is exact again when all cells that were made coarser have left it.
"""

from fractions import Fraction
from typing import Any

from state.projections.fold import LATE, MISSED, Fold, View, is_number
from state.projections.histogram import EMPTY, at_share, bytes_of, counted, joined, key_of, without
from state.projections.windows import CELLS_BYTES_MAX, CELLS_MAX, Window, reaching, seeing

QUANTILE_EXACT_MAX = 256
"""As long as a window holds no more numbers, none of them is rounded."""

HISTOGRAMS_BYTES_MAX = 12 * 1024
"""Keys and counts of a window. Numbers within a factor of ten of one another stay within 1 %, however many there are;
within a factor of a hundred, 2 %; of ten thousand, 4 %."""

_NOTHING = (0, EMPTY, None)
_HISTOGRAM_BYTES_MAX = 1 + 1 + 3 + 3


def ranking(window: Window) -> Fold:
    """What is kept is [bytes of the cells, histogram of the window, cells], a cell being a histogram or None."""
    width_ms, reach_ms, lateness_max_ms = window.width_ms, window.reach_ms, window.lateness_max_ms

    def add(kept: Any, value: Any, occurred_ms: int, now_ms: int) -> Any:
        if not is_number(value):
            return kept, MISSED
        number, oldest = occurred_ms // width_ms, (now_ms - reach_ms) // width_ms
        if number < oldest or now_ms - occurred_ms > lateness_max_ms:
            return kept, LATE
        cells_bytes, whole, before = _NOTHING if kept is None else kept
        cells = reaching(before, number, oldest, None)
        if before is not None and before[0] - len(before) + 2 < oldest:
            cells_bytes, whole = _left(cells_bytes, whole, before, oldest)
        return _with_number(cells_bytes, whole, cells, number - cells[0] - 1, value + 0.0)

    return Fold(add, 1 + 3 + CELLS_BYTES_MAX + (CELLS_MAX + 1) * _HISTOGRAM_BYTES_MAX + HISTOGRAMS_BYTES_MAX)


def view_quantile(window: Window, share: float) -> View:
    """The nearest rank: a number that is there, never one between two."""
    see = seeing(window)
    # By its digits, so that 0.07 of 100 is 7 and not a little more.
    numerator, denominator = Fraction(repr(share)).as_integer_ratio()

    def view(kept: Any, now_ms: int) -> float | None:
        if kept is None:
            return None
        _, whole, cells = kept
        inside = see(cells, now_ms)
        if len(inside) < len(cells) - 1:
            whole = _together(inside)
        return at_share(whole, numerator, denominator)

    return view


def _with_number(cells_bytes: int, whole: Any, cells: list[Any], at: int, number: float) -> list[Any]:
    cell = cells[at] or EMPTY
    key = key_of(number, cell[0])
    grown = counted(cell, key)
    whole = counted(whole, key if whole[0] == cell[0] else key_of(number, whole[0]))
    cells[at] = grown
    cells_bytes += bytes_of(grown) - bytes_of(cell)
    while cells_bytes + bytes_of(whole) > HISTOGRAMS_BYTES_MAX:
        whole = _coarsen(whole, cells)
        cells_bytes = sum([bytes_of(found) for found in cells[1:] if found is not None])
    return [cells_bytes, whole, cells]


def _coarsen(whole: Any, cells: list[Any]) -> Any:
    """Make the finest cells of a fresh copy one level coarser, and the window's histogram, if it is as fine."""
    finest = min([cell[0] for cell in cells[1:] if cell is not None])
    for at in range(1, len(cells)):
        cell = cells[at]
        if cell is not None and cell[0] == finest:
            cells[at] = joined([cell], finest + 1)
    return joined([whole], finest + 1) if whole[0] == finest else whole


def _left(cells_bytes: int, whole: Any, before: list[Any], oldest: int) -> tuple[int, Any]:
    """What remains of the window when the cells before `oldest` have left it; finer, if those that remain are."""
    split = 1 + oldest - (before[0] - len(before) + 2)
    inside = [cell for cell in before[split:] if cell is not None]
    gone = [cell for cell in before[1:split] if cell is not None]
    cells_bytes -= sum([bytes_of(cell) for cell in gone])
    if not inside or max([cell[0] for cell in inside]) < whole[0]:
        return cells_bytes, _together(inside)
    return cells_bytes, without(whole, gone)


def _together(cells: list[Any]) -> Any:
    found = [cell for cell in cells if cell is not None]
    return joined(found, max([cell[0] for cell in found])) if found else EMPTY
