"""The Positions port in this process's memory: for tests and simulation."""

from collections.abc import Mapping
from typing import Any

import msgspec

from control_plane.errors import PositionsUnavailable


class MemoryPositions:
    """Keeps what a test holds; `away` makes it unreachable. Values are copied, as a store would."""

    def __init__(self) -> None:
        self.away = False
        self.writes = 0
        self._kept: dict[str, dict[str, bytes]] = {}

    async def read(self, trigger: str) -> Mapping[str, Any]:
        """All that a trigger has kept."""
        self._answer()
        return {key: msgspec.json.decode(value) for key, value in self._kept.get(trigger, {}).items()}

    async def write(self, trigger: str, positions: Mapping[str, Any]) -> None:
        """Keep values under their keys."""
        self._answer()
        encoded = {key: None if value is None else msgspec.json.encode(value) for key, value in positions.items()}
        self.writes += 1
        kept = self._kept.setdefault(trigger, {})
        for key, value in encoded.items():
            if value is None:
                kept.pop(key, None)
            else:
                kept[key] = value

    def _answer(self) -> None:
        if self.away:
            raise PositionsUnavailable("The positions are told to be away, so nothing was read or written.")
