"""A row part as a user declares it: named fields, each folded in its own way.

Bounded: a windowed field keeps at most `BUCKETS_PER_WINDOW + 1` buckets, whatever comes in. Windows follow event time,
so an event that is late is counted in the bucket of its own time, while that bucket is still inside the window.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal

from msgspec import Struct

BUCKETS_PER_WINDOW = 20
"""A window's edge is exact to a twentieth of its length."""

Kind = Literal["last", "first", "count", "min", "max", "mean"]
ReadValue = Callable[[Mapping[str, Any]], Any]
"""Reads a value from an event's data. Raises KeyError or TypeError when it is not there."""


class Field(Struct, frozen=True, kw_only=True):
    """One field. `read` is None for `count`; `of_type` narrows a count; `window_ms` is 0 where there is none."""

    name: str
    kind: Kind
    read: ReadValue | None = None
    of_type: str | None = None
    window_ms: int = 0

    def fold(self, kept: Any, event_type: str, data: Mapping[str, Any], occurred_ms: int) -> Any:
        """What is kept of the field after one more event. A value that is missing or no number changes nothing."""
        if self.kind == "count":
            return _counted(kept, occurred_ms, self.window_ms) if self.of_type in (None, event_type) else kept
        assert self.read is not None
        try:
            value = self.read(data)
        except (KeyError, TypeError):
            return kept
        if self.kind == "last":
            return value
        if self.kind == "first":
            return value if kept is None else kept
        return _folded(kept, value, occurred_ms, self.window_ms) if _is_number(value) else kept

    def view(self, kept: Any, now_ms: int) -> Any:
        """The field's value as agents, expressions and policies see it."""
        if self.kind in ("last", "first"):
            return kept
        edge_ms = now_ms - self.window_ms
        buckets = kept if kept and kept[0][0] > edge_ms else [bucket for bucket in kept or () if bucket[0] > edge_ms]
        if self.kind == "count":
            return sum([bucket[1] for bucket in buckets])
        if not buckets:
            return None
        if self.kind == "min":
            return min([bucket[3] for bucket in buckets])
        if self.kind == "max":
            return max([bucket[4] for bucket in buckets])
        return math.fsum([bucket[2] for bucket in buckets]) / sum([bucket[1] for bucket in buckets])


class Projection(Struct, frozen=True, kw_only=True):
    """A row part: its name, the event types that feed it, and its fields."""

    name: str
    on: tuple[str, ...]
    fields: tuple[Field, ...]

    def fold(
        self, part: Mapping[str, Any], event_type: str, data: Mapping[str, Any], occurred_ms: int
    ) -> dict[str, Any]:
        """The part after one event."""
        return {field.name: field.fold(part.get(field.name), event_type, data, occurred_ms) for field in self.fields}

    def view(self, part: Mapping[str, Any], now_ms: int) -> dict[str, Any]:
        """The part as it is seen; fields without a value are left out, so that an expression on them does not match."""
        seen = {field.name: field.view(part.get(field.name), now_ms) for field in self.fields}
        return {name: value for name, value in seen.items() if value is not None}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _bucket_start(occurred_ms: int, window_ms: int) -> int:
    width_ms = max(1, window_ms // BUCKETS_PER_WINDOW)
    return occurred_ms - occurred_ms % width_ms + width_ms


def _counted(kept: Any, occurred_ms: int, window_ms: int) -> list[list[Any]]:
    return _with_bucket(kept, _bucket_start(occurred_ms, window_ms), window_ms, lambda old: [old[0], old[1] + 1], 1)


def _folded(kept: Any, value: float, occurred_ms: int, window_ms: int) -> list[list[Any]]:
    return _with_bucket(
        kept,
        _bucket_start(occurred_ms, window_ms),
        window_ms,
        lambda old: [old[0], old[1] + 1, old[2] + value, min(old[3], value), max(old[4], value)],
        1,
        value,
        value,
        value,
    )


def _with_bucket(
    kept: Any, end_ms: int, window_ms: int, grown: Callable[[list[Any]], list[Any]], *fresh: Any
) -> list[list[Any]]:
    """The buckets, oldest first, with one more event in the bucket that ends at `end_ms`; buckets that left the window
    are dropped."""
    if kept and kept[-1][0] == end_ms and kept[0][0] > end_ms - window_ms:
        return [*kept[:-1], grown(kept[-1])]
    if not kept or kept[-1][0] < end_ms:
        return [*[bucket for bucket in kept or () if bucket[0] > end_ms - window_ms], [end_ms, *fresh]]
    newest_ms = kept[-1][0]
    buckets = [bucket for bucket in kept if bucket[0] > newest_ms - window_ms]
    if end_ms <= newest_ms - window_ms:
        return buckets
    for at, bucket in enumerate(buckets):
        if bucket[0] == end_ms:
            return [*buckets[:at], grown(bucket), *buckets[at + 1 :]]
    return sorted([*buckets, [end_ms, *fresh]], key=lambda bucket: bucket[0])
