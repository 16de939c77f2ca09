"""One thing that a replay says otherwise than the log, in words and field by field."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from control_plane.replay.said import Order

DIFFERENCES_KEPT_MAX = 100
"""Differences that are kept to be shown, the first ones in log order; all are counted."""

VALUE_CHARS_MAX = 120

Kind = Literal["different", "missing", "extra", "unequal_copies", "unreadable"]

_MEANING: Mapping[Kind, str] = {
    "different": "the replay gives other bytes",
    "missing": "the replay says it, the log does not hold it",
    "extra": "the log holds it, it follows from nothing in the replay",
    "unequal_copies": "the log holds copies of it that are not equal",
    "unreadable": "the log holds a record that is no message",
}

_ABSENT: Final = object()


class Difference(Struct, frozen=True, kw_only=True):
    """`recorded` is what the log holds at `place`, None when it holds nothing; `other` what stands against it: what the
    replay says, or an unequal copy."""

    kind: Kind
    topic: str
    message_id: str
    place: str
    recorded: bytes | None = None
    other: bytes | None = None

    def lines(self) -> Iterator[str]:
        """For people: what it is, and each field that is not the same."""
        yield f"{self.topic} {self.message_id} ({self.place}): {_MEANING[self.kind]}"
        before, after = _fields(self.recorded), _fields(self.other)
        against = "copied" if self.kind == "unequal_copies" else "replayed"
        for name in [*before, *(name for name in after if name not in before)]:
            was, now = before.get(name, _ABSENT), after.get(name, _ABSENT)
            if was != now:
                yield f"    {name}: recorded {_shown(was)}, {against} {_shown(now)}"


class Differences:
    """All differences, counted by kind, and the first ones in log order."""

    def __init__(self) -> None:
        self.counts: Counter[Kind] = Counter()
        self._kept: list[tuple[Order, Difference]] = []

    def add(self, order: Order, found: Difference) -> None:
        """One more. What is not among the first ones is only counted."""
        self.counts[found.kind] += 1
        if len(self._kept) >= 2 * DIFFERENCES_KEPT_MAX:
            self._kept = self._first()
        self._kept.append((order, found))

    def first(self) -> tuple[Difference, ...]:
        """The first ones in log order."""
        return tuple(found for _, found in self._first())

    def _first(self) -> list[tuple[Order, Difference]]:
        return sorted(self._kept, key=lambda kept: kept[0])[:DIFFERENCES_KEPT_MAX]


def _fields(raw: bytes | None) -> dict[str, Any]:
    """Every value of a message by its dotted path; the bytes themselves where they are no JSON."""
    if raw is None:
        return {}
    try:
        return dict(_flat("", msgspec.json.decode(raw)))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {"bytes": raw.decode(errors="backslashreplace")}


def _flat(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _flat(f"{path}.{name}" if path else name, inner)
    elif isinstance(value, list) and value:
        for index, inner in enumerate(value):
            yield from _flat(f"{path}[{index}]", inner)
    else:
        yield path, value


def _shown(value: Any) -> str:
    if value is _ABSENT:
        return "nothing"
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= VALUE_CHARS_MAX else text[:VALUE_CHARS_MAX] + "..."
