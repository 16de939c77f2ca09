"""Modules that a library loads for a use that nobody here makes of it, left out while the library is loaded.

The one place that reaches into how libraries are loaded; `tests/contract/test_left_out.py` holds each use of it.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType


@contextmanager
def left_out(module: str, *names: str) -> Iterator[None]:
    """While the library is imported in this block, `module` is empty but for classes of these names.

    Who imports the module later gets the real one.
    """
    if module in sys.modules:  # Somebody has use for it.
        yield
        return
    empty = ModuleType(module)
    vars(empty).update({name: type(name, (), {}) for name in names})
    sys.modules[module] = empty
    try:
        yield
    finally:
        del sys.modules[module]
