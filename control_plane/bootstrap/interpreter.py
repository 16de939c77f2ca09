"""How a service wants Python itself to behave: for the whole process, so nothing but a service may call it."""

import gc
import sys
from typing import Final

COLLECT_AFTER_OBJECTS: Final = 20_000
"""New objects before Python looks for cycles among them; its default of 700 is met several times in every batch."""
THREAD_SWITCH_S: Final = 0.0005
"""How long the loop's thread keeps the interpreter from the thread that writes the store, instead of Python's 5 ms.
A bare SQLite writer beside a busy thread went from 5,000 to 20,900 rows/s by it, for a tenth of that thread's time."""


def switch_threads_soon() -> None:
    """Let the thread that writes the store have its turn."""
    sys.setswitchinterval(THREAD_SWITCH_S)


def spare_the_collector() -> None:
    """What was loaded for good is no longer looked through for cycles: that took 126 ms in the middle of a ruling."""
    gc.set_threshold(COLLECT_AFTER_OBJECTS)
    gc.freeze()
