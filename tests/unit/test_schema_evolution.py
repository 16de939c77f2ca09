"""Whether a changed schema still takes what the one in force takes."""

from typing import Any

import pytest

from control_plane.workspace.schema_evolution import narrowed_schemas, narrowings
from tests.builders import item

ORDER: dict[str, Any] = {
    "type": "object",
    "required": ["number"],
    "properties": {
        "number": {"type": "string", "maxLength": 20},
        "total": {"type": "number", "minimum": 0},
        "state": {"enum": ["new", "paid"]},
        "lines": {"type": "array", "items": {"$ref": "#/$defs/line"}},
    },
    "$defs": {"line": {"type": "object", "properties": {"many": {"type": "integer"}}}},
}
CLOSED: dict[str, Any] = {**ORDER, "additionalProperties": False}


def changed(schema: dict[str, Any] = ORDER, /, **fields: Any) -> dict[str, Any]:
    """The schema with other fields; `...` takes one out."""
    properties = {**schema["properties"], **fields}
    return {**schema, "properties": {name: found for name, found in properties.items() if found is not ...}}


def with_line(**changes: Any) -> dict[str, Any]:
    line = {**ORDER["$defs"]["line"], **changes}
    return {**ORDER, "$defs": {"line": line}}


TREE: dict[str, Any] = {"type": "object", "properties": {"label": {"type": "string"}, "child": {"$ref": "#"}}}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(ORDER, {**ORDER, "title": "An order", "description": "as it was placed"}, id="words"),
        pytest.param(ORDER, {}, id="anything"),
        pytest.param({}, {"type": "object"}, id="data is an object anyway"),
        pytest.param(ORDER, changed(note={"type": "string"}), id="an optional field more"),
        pytest.param(CLOSED, changed(CLOSED, note={"type": "string"}), id="an optional field more in a closed one"),
        pytest.param(ORDER, changed(note=...), id="no such field"),
        pytest.param(ORDER, {**ORDER, "required": []}, id="required no longer"),
        pytest.param(CLOSED, ORDER, id="opened"),
        pytest.param(ORDER, changed(number={"type": ["string", "null"], "maxLength": 20}), id="null as well"),
        pytest.param(
            ORDER, changed(number={"anyOf": [{"type": "string", "maxLength": 20}, {"type": "null"}]}), id="or null"
        ),
        pytest.param(ORDER, changed(number={"type": "string", "maxLength": 40}), id="longer"),
        pytest.param(ORDER, changed(number={"type": "string"}), id="without limit"),
        pytest.param(ORDER, changed(total={"type": "number", "minimum": -1}), id="a lower bound that is lower"),
        pytest.param(ORDER, changed(total={"type": "number"}), id="no bound"),
        pytest.param(changed(total={"type": "integer"}), changed(total={"type": "number"}), id="numbers for integers"),
        pytest.param(ORDER, changed(state={"enum": ["new", "paid", "sent"]}), id="a value more"),
        pytest.param(ORDER, changed(state={"type": "string"}), id="any text"),
        pytest.param(changed(state={"const": "new"}), ORDER, id="one of several for one"),
        pytest.param(ORDER, with_line(properties={"many": {"type": ["integer", "null"]}}), id="within a reference"),
        pytest.param(ORDER, changed(lines={"type": "array"}), id="any items"),
        pytest.param(TREE, {**TREE, "properties": {**TREE["properties"], "note": {}}}, id="recursive"),
        pytest.param(
            changed(x={"type": "string", "pattern": "^a"}), changed(x={"type": "string"}), id="without a pattern"
        ),
    ],
)
def test_what_takes_more_than_before_is_compatible(old: Any, new: Any) -> None:
    assert list(narrowings(old, new)) == []


@pytest.mark.parametrize(
    ("old", "new", "path", "says"),
    [
        pytest.param(ORDER, {**ORDER, "required": ["number", "total"]}, "total", "is required", id="required"),
        pytest.param(ORDER, changed(total={"type": "string"}), "total", "integer, number is not", id="another type"),
        pytest.param(ORDER, changed(total={"type": "integer", "minimum": 0}), "total", "number is not", id="integers"),
        pytest.param(ORDER, changed(total={"type": "number", "minimum": 1}), "total", "lower bound", id="minimum"),
        pytest.param(
            ORDER, changed(total={"type": "number", "exclusiveMinimum": 0}), "total", "lower bound", id="0 no longer"
        ),
        pytest.param(
            ORDER, changed(total={"type": "number", "minimum": 0, "maximum": 9}), "total", "upper bound", id="maximum"
        ),
        pytest.param(ORDER, changed(number={"type": "string", "maxLength": 9}), "number", "maxLength is 9", id="short"),
        pytest.param(ORDER, changed(number={"type": "string", "minLength": 1}), "number", "minLength is 1", id="empty"),
        pytest.param(
            ORDER,
            changed(number={"type": "string", "maxLength": 20, "pattern": "^A"}),
            "number",
            "pattern",
            id="pattern",
        ),
        pytest.param(
            ORDER,
            changed(number={"type": "string", "maxLength": 20, "format": "uuid"}),
            "number",
            "format",
            id="format",
        ),
        pytest.param(ORDER, changed(state={"enum": ["new"]}), "state", '"paid" is not taken', id="a value less"),
        pytest.param(ORDER, changed(number={"enum": ["a"]}), "number", 'only "a" is taken', id="only values"),
        pytest.param(ORDER, CLOSED, "*", "nothing is taken here", id="closed"),
        pytest.param(CLOSED, changed(CLOSED, total=...), "total", "nothing is taken here", id="a field less"),
        pytest.param(ORDER, with_line(required=["many"]), "lines[].many", "is required", id="within a reference"),
        pytest.param(ORDER, with_line(properties={"many": {"type": "string"}}), "lines[].many", "integer", id="deep"),
        pytest.param(ORDER, {**ORDER, "not": {"required": ["total"]}}, "", "not is not as it was", id="not"),
        pytest.param(ORDER, {**ORDER, "if": {}, "then": {}}, "", "if is not as it was", id="if"),
        pytest.param(
            ORDER, {**ORDER, "dependentRequired": {"total": ["state"]}}, "", "dependentRequired", id="depends"
        ),
        pytest.param(ORDER, {**ORDER, "allOf": [{"required": ["state"]}]}, "state", "is required", id="allOf"),
        pytest.param(
            ORDER,
            changed(number={"anyOf": [{"type": "null"}, {"type": "integer"}]}),
            "number",
            "none of anyOf",
            id="any",
        ),
        pytest.param(
            {**ORDER, "unevaluatedProperties": False},
            {**changed(total=...), "unevaluatedProperties": False},
            "",
            "unevaluatedProperties",
            id="what depends on the rest",
        ),
        pytest.param(
            {"patternProperties": {"^x": {"type": "string"}}},
            {"additionalProperties": {"type": "integer"}},
            "*",
            "string",
            id="a pattern that is gone",
        ),
        pytest.param(ORDER, changed(total={"$ref": "https://elsewhere"}), "total", "$ref", id="elsewhere"),
        pytest.param(
            TREE,
            {**TREE, "properties": {**TREE["properties"], "label": {"type": "integer"}}},
            "label",
            "string",
            id="recursive",
        ),
        pytest.param(ORDER, False, "", "nothing is taken", id="nothing"),
    ],
)
def test_what_takes_less_than_before_is_named_with_its_field(old: Any, new: Any, path: str, says: str) -> None:
    found = narrowings(old, new)

    assert path in {narrowing.path for narrowing in found}, found
    assert any(says in narrowing.problem for narrowing in found), found


def test_the_flaw_names_the_file_the_field_and_the_cure() -> None:
    before = [item("schema", "order.placed", ORDER), item("schema", "order.paid", ORDER)]
    after = [
        item("schema", "order.placed", CLOSED),
        item("schema", "order.paid", ORDER),
        item("schema", "order.sent", {}),
    ]

    [flaw] = narrowed_schemas(before, after)

    assert flaw.file == "schemas/order.placed.json"
    assert flaw.problem.startswith("*: nothing is taken here any longer")
    assert "order.placed_v2" in flaw.cure


def test_taking_a_schema_away_and_declaring_the_first_one_are_nobodys_business() -> None:
    narrow = [item("schema", "order.placed", CLOSED)]

    assert narrowed_schemas(narrow, []) == narrowed_schemas([], narrow) == []
