"""JSON Schema, wherever users declare what their data looks like."""

from collections.abc import Mapping
from typing import Any, Protocol


class SchemaViolation(Exception):
    """The value breaks the schema. `field` is a dotted path from the value, empty for the whole."""

    def __init__(self, detail: str, field: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.field = field


class SchemaInvalid(Exception):
    """The schema itself is none."""


class Validator(Protocol):
    """One compiled schema."""

    def check(self, value: Any) -> None:
        """Raises SchemaViolation with the first thing that is wrong."""


class SchemaLanguage(Protocol):
    """Compiles schemas."""

    def compile(self, schema: Mapping[str, Any]) -> Validator:
        """Raises SchemaInvalid. Formats are checked; `format: duration` means `500ms`, `5s`, `10m`, `24h`."""
