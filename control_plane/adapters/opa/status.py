"""What OPAs say of themselves: which bundle each runs, and why it refused another. Bounded; the longest silent goes."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from control_plane.adapters.opa.bundle import NAME
from control_plane.ports.bundles import SeenEngine

OPAS_MAX: Final = 1_000
TEXT_CHARS_MAX: Final = 300
SILENT_FOR_MS_MAX: Final = 300_000
"""After five minutes without a word an OPA is no longer counted: it says something with every poll."""


class _Location(msgspec.Struct):
    file: str = ""
    row: int = 0


class _Error(msgspec.Struct):
    message: str = ""
    location: _Location | None = None


class _BundleStatus(msgspec.Struct):
    active_revision: str = ""
    message: str = ""
    errors: list[_Error | str] | None = None


class _Status(msgspec.Struct):
    labels: dict[str, str]
    bundles: dict[str, _BundleStatus] = {}


class Statuses:
    """The last word of each OPA."""

    def __init__(self) -> None:
        self._last: OrderedDict[str, SeenEngine] = OrderedDict()
        self._refusals: OrderedDict[str, Sequence[str]] = OrderedDict()
        self.unreadable = 0
        """Posts that were no status."""

    def told(self, status: Mapping[str, Any], now_ms: int) -> None:
        """Take a status; what is none is counted and passed by."""
        try:
            found = msgspec.convert(status, _Status)
            name = found.labels["id"][:TEXT_CHARS_MAX]
        except (msgspec.ValidationError, KeyError):
            self.unreadable += 1
            return
        bundle = found.bundles.get(NAME, _BundleStatus())
        problems = list(_problems(bundle))
        self._last[name] = SeenEngine(
            id=name,
            version=found.labels.get("version", "")[:TEXT_CHARS_MAX],
            bundle=bundle.active_revision[:TEXT_CHARS_MAX],
            problem=(problems[0] if problems else "")[:TEXT_CHARS_MAX],
            told_at_ms=now_ms,
        )
        self._refusals[name] = problems
        self._last.move_to_end(name)
        self._forget(now_ms)

    def seen(self) -> Sequence[SeenEngine]:
        """The last words, by id."""
        return sorted(self._last.values(), key=lambda each: each.id)

    def why_refused(self, revision: str) -> str:
        """What an OPA said against a bundle because of this policy revision; empty when none did."""
        sign = f"/r_{revision}/"
        return next((p[:TEXT_CHARS_MAX] for problems in self._refusals.values() for p in problems if sign in p), "")

    def _forget(self, now_ms: int) -> None:
        for name, each in list(self._last.items()):
            if now_ms - each.told_at_ms <= SILENT_FOR_MS_MAX and len(self._last) <= OPAS_MAX:
                return
            del self._last[name], self._refusals[name]


def _problems(bundle: _BundleStatus) -> Sequence[str]:
    """The message, and each error with its place."""
    if not bundle.message:
        return ()
    found = []
    for error in bundle.errors or ():
        if isinstance(error, str):
            found.append(error)
        else:
            place = f"{error.location.file}:{error.location.row}: " if error.location else ""
            found.append(f"{place}{error.message}")
    return found or [bundle.message]
