"""The SchemaLanguage port on jsonschema-rs (draft 2020-12, in process)."""

from collections.abc import Mapping
from typing import Any

import jsonschema_rs

from control_plane.durations import is_duration
from control_plane.ports.schemas import SchemaInvalid, SchemaViolation

DETAIL_CHARS_MAX = 300


class JsonSchemaValidator:
    """One compiled schema."""

    def __init__(self, validator: jsonschema_rs.Draft202012Validator) -> None:
        self._validator = validator

    def check(self, value: Any) -> None:
        """Raises SchemaViolation with the first thing that is wrong."""
        if self._validator.is_valid(value):
            return
        first = next(iter(self._validator.iter_errors(value)))
        field = ".".join(str(step) for step in first.instance_path)
        raise SchemaViolation(_detail(first, value)[:DETAIL_CHARS_MAX], field)


class JsonSchemas:
    """Compiles schemas with jsonschema-rs."""

    def compile(self, schema: Mapping[str, Any]) -> JsonSchemaValidator:
        """Raises SchemaInvalid."""
        try:
            validator = jsonschema_rs.Draft202012Validator(
                dict(schema), validate_formats=True, formats={"duration": is_duration}
            )
        except (ValueError, jsonschema_rs.ReferencingError) as exc:
            raise SchemaInvalid(str(exc)[:DETAIL_CHARS_MAX]) from exc
        return JsonSchemaValidator(validator)


def _detail(found: jsonschema_rs.ValidationError, value: Any) -> str:
    """What is wrong. Where no field at all is allowed, the library names the value and not the field."""
    if not isinstance(found.kind, jsonschema_rs.ValidationErrorKind.FalseSchema):
        return found.message
    for step in found.instance_path:
        value = value[step]
    if not isinstance(value, dict):
        return found.message
    names = ", ".join(repr(name) for name in value)
    return f"no fields are allowed here, and these were sent: {names}"
