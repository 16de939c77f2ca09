"""How many different values there were in a window: exact up to `DISTINCT_EXACT_MAX`, an estimate beyond.

Every value is kept once, as a hash, in the cell in which it occurred last. When there are too many, the fullest cell
keeps only those whose hash begins with one more zero bit, and each then stands for twice as many: adaptive sampling, by
Wegman, as Flajolet analysed it in 1990. The standard error is about 1 / sqrt(DISTINCT_EXACT_MAX), 6 %; the estimate is
never above the number of events. New cells begin exact, so the count is exact again a window after there were too
many.

Nothing is drawn: the same events in the same order keep the same bytes. Up to the exact limit order does not matter.
"""

from hashlib import blake2b
from typing import Any

from state.projections.fold import LATE, MISSED, NUMBER_BYTES_MAX, Fold, View, is_number
from state.projections.windows import CELLS_BYTES_MAX, CELLS_MAX, Window, reaching, seeing

DISTINCT_EXACT_MAX = 256
"""Values that are all known."""

_HASH_BYTES = 6
_HASH_BITS = 8 * _HASH_BYTES
_KEPT_BYTES_MAX = DISTINCT_EXACT_MAX * _HASH_BYTES
_CELL_BYTES_MAX = 1 + NUMBER_BYTES_MAX + 1 + 3
_EMPTY = b""


def collecting(window: Window) -> Fold:
    """Cells of [events, level, hashes]; at level n a cell holds the hashes that begin with n zero bits."""
    width_ms, reach_ms, lateness_max_ms = window.width_ms, window.reach_ms, window.lateness_max_ms

    def add(kept: Any, value: Any, occurred_ms: int, now_ms: int) -> Any:
        hashed = _hash(value)
        if hashed is None:
            return kept, MISSED
        number, oldest = occurred_ms // width_ms, (now_ms - reach_ms) // width_ms
        if number < oldest or now_ms - occurred_ms > lateness_max_ms:
            return kept, LATE
        cells = reaching(kept, number, oldest, None)
        _put(cells, len(cells) + number - cells[0] - 1, hashed)
        return cells

    return Fold(add, CELLS_BYTES_MAX + CELLS_MAX * _CELL_BYTES_MAX + _KEPT_BYTES_MAX)


def view_distinct(window: Window) -> View:
    """How many there were, to the nearest whole."""
    see = seeing(window)

    def view(kept: Any, now_ms: int) -> int:
        cells = [cell for cell in see(kept, now_ms) if cell is not None]
        estimate: int = sum([(len(hashes) // _HASH_BYTES) << level for _, level, hashes in cells])
        events: int = sum([cell[0] for cell in cells])
        return min(estimate, events)

    return view


def _put(cells: list[Any], at: int, hashed: bytes) -> None:
    """Put a hash into a cell of a fresh copy."""
    cell = cells[at]
    events, level, hashes = (0, _level_after(cells, at), _EMPTY) if cell is None else cell
    if _find(hashes, hashed) >= 0 or _is_newer(cells, at, hashed):
        cells[at] = [events + 1, level, hashes]
        return
    _take_out_older(cells, at, hashed)
    fits = int.from_bytes(hashed) >> (_HASH_BITS - level) == 0
    cells[at] = [events + 1, level, hashes + hashed if fits else hashes]
    if fits:
        while sum([len(cell[2]) for cell in cells[1:] if cell is not None]) > _KEPT_BYTES_MAX:
            _thin(cells)


def _level_after(cells: list[Any], at: int) -> int:
    """The level of the next newer cell: what a finer one held could be in that one unseen, and would count twice."""
    return next((cell[1] for cell in cells[at + 1 :] if cell is not None), 0)


def _is_newer(cells: list[Any], at: int, hashed: bytes) -> bool:
    return any(cell is not None and _find(cell[2], hashed) >= 0 for cell in cells[at + 1 :])


def _take_out_older(cells: list[Any], at: int, hashed: bytes) -> None:
    for older in range(1, at):
        cell = cells[older]
        found = -1 if cell is None else _find(cell[2], hashed)
        if found >= 0:
            cells[older] = [cell[0], cell[1], cell[2][:found] + cell[2][found + _HASH_BYTES :]]
            return


def _thin(cells: list[Any]) -> None:
    """Make the fullest cell one level coarser, and with it all older ones that would be finer."""
    fullest = max(range(1, len(cells)), key=lambda at: -1 if cells[at] is None else len(cells[at][2]))
    level = cells[fullest][1] + 1
    for at in range(1, fullest + 1):
        cell = cells[at]
        if cell is not None and cell[1] < level:
            cells[at] = [cell[0], level, _begin_with_zeros(cell[2], level)]


def _begin_with_zeros(hashes: bytes, bits: int) -> bytes:
    each = [hashes[start : start + _HASH_BYTES] for start in range(0, len(hashes), _HASH_BYTES)]
    return b"".join([hashed for hashed in each if int.from_bytes(hashed) >> (_HASH_BITS - bits) == 0])


def _find(hashes: bytes, hashed: bytes) -> int:
    """Where a hash begins, -1 where it is not there."""
    found = hashes.find(hashed)
    while found >= 0 and found % _HASH_BYTES:
        found = hashes.find(hashed, found + 1)
    return found


def _hash(value: Any) -> bytes | None:
    """Texts, numbers and truths; 1 and 1.0 are the same number. None for anything else."""
    kind = value.__class__
    if kind is str:
        text = "s" + value
    elif kind is bool:
        text = "t" if value else "f"
    elif is_number(value):
        text = f"n{int(value) if value == value // 1 else value!r}"
    else:
        return None
    return blake2b(text.encode(errors="surrogatepass"), digest_size=_HASH_BYTES).digest()
