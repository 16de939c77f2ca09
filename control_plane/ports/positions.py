"""How far each trigger has come in what it reads: small values by trigger and key, written after the events are safe.

What an adapter promises, and the contract suite checks:

- **Durable.** What `write` returned from is read after a crash.
- **Whole.** One `write` is one transaction: all of its keys, or none.
- **Apart.** Triggers share nothing; a key of one is no key of another.

Every call raises PositionsUnavailable when the store cannot be reached; then nothing was written, as far as the caller
may know, and the call can be repeated as it was. Nobody may rely on more than at least once: between the events and
their position a process may die, so whoever reads on from a position must say the same events again, with the same
ids.
"""

from collections.abc import Mapping
from typing import Any, Protocol

POSITION_BYTES_MAX = 64 * 1024
"""Largest value, as JSON."""
KEY_CHARS_MAX = 512


class Positions(Protocol):
    """The positions of every trigger."""

    async def read(self, trigger: str) -> Mapping[str, Any]:
        """All that a trigger has kept, by key; what JSON can hold."""

    async def write(self, trigger: str, positions: Mapping[str, Any]) -> None:
        """Keep values under their keys, in place of what stood there; None forgets a key."""
