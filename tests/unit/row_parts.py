"""A row part with one field, fed by hand."""

from typing import Any

import msgspec

from control_plane.adapters.cel import CelExpressions
from control_plane.catalogue.definitions import FieldDefinition
from control_plane.workspace.compiling import compile_field
from state.projections import Field, Projection

EXPRESSIONS = CelExpressions()
MEASURED = "service.measured"


def field(name: str = "it", **definition: Any) -> Field:
    """A field as `rows/*.yaml` declares it."""
    return compile_field(name, msgspec.convert(definition, FieldDefinition), EXPRESSIONS)


def projection(on: tuple[str, ...] = (MEASURED,), **definitions: dict[str, Any]) -> Projection:
    """A part of several fields."""
    return Projection(name="health", on=on, fields=[field(name, **how) for name, how in definitions.items()])


class Part:
    """One part with one field `it`. Milliseconds are event time; log time is that of the newest event, or later."""

    def __init__(self, on: tuple[str, ...] = (MEASURED,), **definition: Any) -> None:
        self.projection = projection(on, it=definition)
        self.kept: Any = None
        self.now_ms = 0

    def fold(
        self, at_ms: int, data: dict[str, Any] | None = None, event_type: str = MEASURED, now_ms: int | None = None
    ) -> "Part":
        """Fold an event that occurred at a time; it came at once, or with the newest before it."""
        self.now_ms = max(self.now_ms, at_ms if now_ms is None else now_ms)
        self.kept = self.projection.fold(self.kept, event_type, data or {}, at_ms, self.now_ms)
        return self

    def values(self, *values: Any) -> "Part":
        """Fold some values of `data.rss`, a millisecond apart."""
        for value in values:
            self.fold(self.now_ms + 1, {"rss": value})
        return self

    def view(self, now_ms: int | None = None) -> Any:
        """The field as it is seen at a time; None where it has no value."""
        return self.projection.view(self.kept, self.now_ms if now_ms is None else now_ms).get("it")

    @property
    def gaps(self) -> tuple[int, int]:
        """How many events came too late, and how many values were missed."""
        found = self.projection.gaps(self.kept).get("it")
        return (found.late, found.missed) if found else (0, 0)


def windowed(kind: str, window: str = "1m", **more: Any) -> Part:
    """A figure over `data.rss`."""
    return Part(**{kind: {"of": "data.rss", "window": window, **more}})
