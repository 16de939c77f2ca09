"""What breaks a schema is said so that its sender knows which field to change."""

from typing import Any

import pytest

from control_plane.adapters.jsonschema import JsonSchemas
from control_plane.ports.schemas import SchemaViolation

CLOSED = {"type": "object", "additionalProperties": False}


@pytest.mark.parametrize(
    ("schema", "value", "said", "field"),
    [
        (CLOSED, {"speed": 2}, "'speed'", ""),
        ({**CLOSED, "properties": {"grace": {}}}, {"speed": 2}, "'speed'", ""),
        ({"type": "object", "properties": {"inner": CLOSED}}, {"inner": {"a": 1, "b": 2}}, "'a', 'b'", "inner"),
        ({"type": "object", "properties": {"n": {"type": "integer"}}}, {"n": "x"}, "integer", "n"),
        ({"type": "object", "properties": {"n": False}}, {"n": 5}, "False schema does not allow 5", "n"),
    ],
)
def test_a_violation_names_the_field(schema: dict[str, Any], value: Any, said: str, field: str) -> None:
    with pytest.raises(SchemaViolation) as raised:
        JsonSchemas().compile(schema).check(value)

    assert said in raised.value.detail
    assert raised.value.field == field
