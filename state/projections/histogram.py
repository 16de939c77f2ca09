"""Numbers counted in bins of one relative width, so that any of them is known to within a share of itself.

The method is that of DDSketch (Masson, Rim and Lee, 2019), and where bins become too many, pairs of neighbours are
joined, which doubles the error (UDDSketch: Epicoco and others, 2020). The bounds of bins are powers of two and table
entries, and no logarithm is taken: those differ between machines in their last digit, and a replay must not.

A histogram is `[level, keys, counts]`, both sorted and packed. At level 0 a key is the number itself, and nothing is
lost; at level 1 it is a bin to within 1 %, at level 2 to within 2 %, then 4 %, 8 %, ... Nothing is changed in place.
"""

import math
import sys
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from itertools import accumulate
from struct import Struct as Packing
from typing import Any

from state.projections.fold import NUMBER_MAX

assert sys.byteorder == "little", "rows are stored in little-endian order, and this machine's is another"

Histogram = Sequence[Any]

EMPTY: Histogram = (0, b"", b"")

BINS_PER_OCTAVE = 35
"""So that a bin reaches from a number to 2 % above it, and its middle is within 1 % of both."""

EXPONENT_MAX = 333
"""Of two, for `NUMBER_MAX` and for its inverse: what is nearer to zero counts as zero."""

_ZERO_KEY = 1 << 15
_MIDDLE = BINS_PER_OCTAVE * (EXPONENT_MAX + 1)
_STEPS = tuple(float(Decimal(2) ** (Decimal(step) / BINS_PER_OCTAVE)) for step in range(BINS_PER_OCTAVE))
_HALF_STEPS = tuple(step / 2 for step in _STEPS)
_LEAST = 1 / NUMBER_MAX
_ONE_BY_ONE_MAX = 50
"""Up to so many are taken out one by one; beyond it, it is cheaper to count anew."""

_KEY_CODES: tuple[Any, Any] = ("d", "H")
_COUNT_CODES: Mapping[int, Any] = {1: "B", 2: "H", 4: "I", 8: "Q"}
_PACKINGS = (Packing("<d"), Packing("<H"))


def key_of(number: float, level: int) -> float | int:
    """What a number is counted under."""
    if level == 0:
        return number
    size = abs(number)
    if size < _LEAST:
        return _ZERO_KEY
    mantissa, exponent = math.frexp(size)
    place = BINS_PER_OCTAVE * (exponent - 1) + bisect_left(_HALF_STEPS, mantissa) + _MIDDLE
    place = _coarser(place, level - 1)
    return _ZERO_KEY + place if number > 0 else _ZERO_KEY - place


def counted(histogram: Histogram, key: float | int, more: int = 1) -> Histogram:
    """With so many more under a key; fewer, when it is negative."""
    level, keys, counts = histogram
    packing = _PACKINGS[level > 0]
    found = memoryview(keys).cast(_KEY_CODES[level > 0])
    at = bisect_left(found, key)
    width = len(counts) // len(found) if keys else 1
    start, split = at * width, at * packing.size
    if at == len(found) or found[at] != key:
        keys = keys[:split] + packing.pack(key) + keys[split:]
        counts = counts[:start] + bytes(width) + counts[start:]
    count = int.from_bytes(counts[start : start + width], "little") + more
    if not count:
        keys = keys[:split] + keys[split + packing.size :]
        return [level, keys, counts[:start] + counts[start + width :]]
    while count >> (8 * width):
        counts, width, start = _widened(counts, width), 2 * width, 2 * start
    return [level, keys, counts[:start] + count.to_bytes(width, "little") + counts[start + width :]]


def joined(histograms: Iterable[Histogram], level: int) -> Histogram:
    """All that some histograms hold, at a level that none of them is above."""
    total: dict[Any, int] = {}
    for histogram in histograms:
        for key, count in _pairs(histogram, level):
            total[key] = total.get(key, 0) + count
    return _packed(level, total)


def without(histogram: Histogram, gone: Iterable[Histogram]) -> Histogram:
    """What is left when others, that were counted in it, are taken out."""
    level = histogram[0]
    pairs = [pair for other in gone for pair in _pairs(other, level)]
    if len(pairs) <= _ONE_BY_ONE_MAX:
        for key, count in pairs:
            histogram = counted(histogram, key, -count)
        return histogram
    left = dict(_pairs(histogram, level))
    for key, count in pairs:
        left[key] -= count
    return _packed(level, {key: count for key, count in left.items() if count})


def at_share(histogram: Histogram, numerator: int, denominator: int) -> float | None:
    """The least number that at least this share of all numbers do not exceed: to within the level's error."""
    level, keys, counts = histogram
    if not keys:
        return None
    up_to = list(accumulate(_cast_counts(keys, counts, level)))
    rank = max(1, -(-up_to[-1] * numerator // denominator))
    key = memoryview(keys).cast(_KEY_CODES[level > 0])[bisect_left(up_to, rank)]
    return _number_of(key, level)


def bytes_of(histogram: Histogram) -> int:
    """What keys and counts take."""
    return len(histogram[1]) + len(histogram[2])


def _number_of(key: Any, level: int) -> float:
    """The number within a bin that is as near to its lower bound as to its upper one, by share."""
    if level == 0:
        return float(key)
    if key == _ZERO_KEY:
        return 0.0
    place, bins = abs(key - _ZERO_KEY), 1 << (level - 1)
    low, high = _bound((place - 1) * bins - _MIDDLE), _bound(place * bins - _MIDDLE)
    middle = 2 * low * (high / (low + high))
    return middle if key > _ZERO_KEY else -middle


def _bound(place: int) -> float:
    octave, step = divmod(max(-_MIDDLE, min(place, _MIDDLE)), BINS_PER_OCTAVE)
    return math.ldexp(_STEPS[step], octave)


def _coarser(place: int, levels: int) -> int:
    return (place + (1 << levels) - 1) >> levels


def _pairs(histogram: Histogram, level: int) -> Iterable[tuple[Any, int]]:
    """Keys as they are at a level, with their counts; the same key may come more than once."""
    own_level, keys, counts = histogram
    found = zip(memoryview(keys).cast(_KEY_CODES[own_level > 0]), _cast_counts(keys, counts, own_level), strict=True)
    if own_level == level:
        return found
    if own_level == 0:
        return [(key_of(number, level), count) for number, count in found]
    levels = level - own_level
    return [(_coarser_key(key, levels), count) for key, count in found]


def _coarser_key(key: int, levels: int) -> int:
    place = key - _ZERO_KEY
    return _ZERO_KEY + (_coarser(place, levels) if place >= 0 else -_coarser(-place, levels))


def _cast_counts(keys: bytes, counts: bytes, level: int) -> Any:
    width = len(counts) // (len(keys) // _PACKINGS[level > 0].size) if keys else 1
    return memoryview(counts).cast(_COUNT_CODES[width])


def _packed(level: int, found: Mapping[Any, int]) -> Histogram:
    packing, ordered = _PACKINGS[level > 0], sorted(found)
    most = max(found.values(), default=0)
    width = next(width for width in _COUNT_CODES if not most >> (8 * width))
    counts = [found[key].to_bytes(width, "little") for key in ordered]
    return [level, b"".join([packing.pack(key) for key in ordered]), b"".join(counts)]


def _widened(counts: bytes, width: int) -> bytes:
    zeros = bytes(width)
    return b"".join([counts[start : start + width] + zeros for start in range(0, len(counts), width)])
