"""`triggers/*.yaml` beyond their shape: expressions, what only the kind can judge, and whether anybody hears.

Kinds are judged by whoever knows them (`CheckTools.examine_trigger`); here their words get a line and a column.
"""

from collections.abc import Collection
from typing import Any

from msgspec import Struct

from control_plane.messages.event import BUILT_IN, is_reserved
from control_plane.workspace.declarations import Declared, Documents
from control_plane.workspace.examined import Examined
from control_plane.workspace.expression_checks import ExpressionChecks
from control_plane.workspace.flaws import Flaws, did_you_mean
from control_plane.workspace.tools import CheckTools
from control_plane.workspace.yaml_tree import Node


def declared_types(documents: Documents, schemas: Collection[str], heard_by_agents: Collection[str]) -> frozenset[str]:
    """Event types that something is declared for: a row, a rule, an agent or a schema."""
    types = {*schemas, *heard_by_agents, *BUILT_IN}
    for _, row in documents.rows.sound():
        types.update(row.on)
    for _, rule in documents.rules.sound():
        types.update((rule.on,) if isinstance(rule.on, str) else rule.on)
    return frozenset(types)


def check_triggers(documents: Documents, tools: CheckTools, flaws: Flaws, known: frozenset[str] | None) -> None:
    """Check every trigger whose shape is right. `known` is None when not everything could be read that declares
    event types: then any may be declared."""
    for found, _ in documents.triggers.sound():
        examined = tools.examine_trigger(definition_of(found))
        for problem in examined.problems:
            flaws.add(found.file, _nearest(found.node, problem.path), problem.problem, problem.cure)
        _formulas(found, examined, tools, flaws)
        if known is not None and not examined.problems:
            _types(found, examined, known, flaws)


def definition_of(found: Declared[Any]) -> dict[str, Any]:
    """A declaration as whoever builds it gets it: its own keys with `name`, `kind` and `file`."""
    return {
        **{key: entry.value.plain() for key, entry in found.node.value.items() if key != found.head},
        "name": found.name,
        "kind": found.node.text("kind") or found.name,
        "file": found.file,
    }


def _formulas(found: Declared[Struct], examined: Examined, tools: CheckTools, flaws: Flaws) -> None:
    checks = ExpressionChecks(found.file, tools.compiling.expressions, None, flaws)
    for formula in examined.formulas:
        check = checks.check_holes if formula.in_holes else checks.check
        check(".".join(formula.path), found.node.get(*formula.path), formula.variables)


def _types(found: Declared[Struct], examined: Examined, known: frozenset[str], flaws: Flaws) -> None:
    """What nobody hears would be refused, event by event. Where a trigger has several types, some may be of no use."""
    place = found.node.get("event", "type") or _nearest(found.node, ("event",))
    reserved = sorted(filter(is_reserved, examined.types))
    if reserved:
        problem = f"only Setpoint itself publishes events of type {reserved[0]}"
        flaws.add(found.file, place, problem, "Choose another type.")
        return
    unheard = sorted(examined.types - known)
    add = flaws.add if len(unheard) == len(examined.types) else flaws.warn
    for name in unheard:
        problem = f"{found.name} publishes {name}, for which nothing is declared: such events become dead letters"
        add(found.file, place, problem, did_you_mean(name, known, f"Declare a row, a rule or a schema for {name}."))


def _nearest(node: Node, path: tuple[str, ...]) -> Node:
    """The node under a path, or the nearest one above it that is there."""
    for length in range(len(path), 0, -1):
        found = node.get(*path[:length])
        if found is not None:
            return found
    return node
