"""What a way of folding is: how an event is added to what is kept, and how much that may be. Knows no way of folding.

What is kept is a value as MessagePack has it, so that it is the same before and after it was stored, and it is never
changed in place.
"""

from collections.abc import Callable
from typing import Any, Final

from msgspec import Struct

NUMBER_MAX: Final = 1e100
"""Numbers beyond it, on either side, are not reckoned with: sums of them could leave what a float can hold."""

NUMBER_BYTES_MAX = 9
"""What a number takes when it is stored."""

LATE: Final = "late"
MISSED: Final = "missed"

Add = Callable[[Any, Any, int, int], Any]
"""`add(kept, value, occurred_ms, now_ms)`: what is kept after one more event. When the event's value did not count, a
tuple of what is kept and why: `late` or `missed`."""

View = Callable[[Any, int], Any]
"""`view(kept, now_ms)`: the value as it is seen, None where there is none."""


class Fold(Struct, frozen=True):
    """`add` folds an event, and what it keeps never takes more than `bytes_max`."""

    add: Add
    bytes_max: int


def is_number(value: Any) -> bool:
    """Whether it can be reckoned with. NaN and infinity are within no bounds."""
    kind = value.__class__
    return (kind is float or kind is int) and -NUMBER_MAX <= value <= NUMBER_MAX
