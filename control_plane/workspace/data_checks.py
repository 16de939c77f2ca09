"""Do expressions read fields that the schemas of their events know, and can they ever hold?

Warns only: a schema may leave room for fields that it does not name.
"""

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from control_plane.catalogue import ControlItem
from control_plane.ports.expressions import ExpressionInvalid, ExpressionMiss, Expressions, Program
from control_plane.workspace.declarations import Documents
from control_plane.workspace.expression_checks import column_of
from control_plane.workspace.flaws import Flaws, did_you_mean
from control_plane.workspace.yaml_tree import Node

Fields = Mapping[str, frozenset[str] | None]
"""The fields of `data` by event type; None where the schema names none."""

Read = tuple[str, Node, Sequence[str]]
"""A file, where an expression stands in it, and the types of the events that it is evaluated on."""

_EXPRESSION_KEYS = ("last", "first")


def warn_of_data(documents: Documents, schemas: Sequence[ControlItem], expressions: Expressions, flaws: Flaws) -> None:
    """Warn of fields that no schema of their events names, and of rules whose condition is never true."""
    fields: Fields = {schema.name: _fields_of(schema) for schema in schemas}
    for file, node, types in [*_in_rules(documents), *_in_rows(documents)]:
        program = _compiled(expressions, node)
        if program is not None:
            _warn_of_fields(file, node, types, program, fields, flaws)
    for found, rule in documents.rules.sound():
        when = found.node.get("when")
        if when is not None and _is_never_true(expressions, when):
            flaws.warn(found.file, when, f"{rule.rule} never fires: its condition is never true", "Change when.")


def _in_rules(documents: Documents) -> Iterator[Read]:
    for found, rule in documents.rules.sound():
        when = found.node.get("when")
        if when is not None:
            yield found.file, when, [rule.on] if isinstance(rule.on, str) else rule.on


def _in_rows(documents: Documents) -> Iterator[Read]:
    for found, row in documents.rows.sound():
        for name in row.fields:
            for node in _values_in(found.node.get("fields", name)):
                yield found.file, node, row.on


def _values_in(field: Node | None) -> Iterator[Node]:
    """What a field is folded from: an expression itself, or under `of`. A count's `of` is an event type."""
    for kind in field.value if field is not None and isinstance(field.value, dict) else ():
        assert field is not None, "only a field has kinds"
        node = field.get(kind, "of") if kind != "count" else None
        node = node or (field.get(kind) if kind in _EXPRESSION_KEYS else None)
        if node is not None:
            yield node


def _fields_of(schema: ControlItem) -> frozenset[str] | None:
    properties = msgspec.json.decode(schema.body).get("properties")
    return frozenset(properties) if isinstance(properties, dict) and properties else None


def _compiled(expressions: Expressions, node: Node) -> Program | None:
    """None for what is no expression: that is a flaw already."""
    try:
        return expressions.compile(node.value) if isinstance(node.value, str) else None
    except ExpressionInvalid:
        return None


def _warn_of_fields(
    file: str, node: Node, types: Sequence[str], program: Program, fields: Fields, flaws: Flaws
) -> None:
    named = [fields.get(event_type) for event_type in types]
    if not types or None in named:
        return
    known = frozenset().union(*[names for names in named if names])
    for path in sorted(program.paths):
        if path[0] == "data" and len(path) > 1 and path[1] not in known:
            problem = f"no schema of {', '.join(types)} names the field data.{path[1]}"
            place = node.inside(column_of(program, path, 1))
            flaws.warn(file, place, problem, did_you_mean(path[1], known, f"Add it to schemas/{types[0]}.json."))


def _is_never_true(expressions: Expressions, node: Node) -> bool:
    program = _compiled(expressions, node)
    if program is None or program.paths:
        return False
    try:
        return program.evaluate(expressions.scope({})) is not True
    except ExpressionMiss:
        return True
