"""Which intents permits name, as far as that is written down: without evaluating anything.

A permit that narrows by a table, a prefix or another field is open: it may allow any intent.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from control_plane.adapters.regorus.syntax import Module, Node, Rule, parse, steps_of
from control_plane.workspace.tools import PermitRule

INTENT_PATHS = frozenset({("input", "decision", "intent"), ("input", "intent", "name")})


def permit_rules(modules: Sequence[tuple[str, str]]) -> list[PermitRule]:
    """Each `allow` of each permit, with the intents that it names; `intents` is None for one that names none.

    Modules are (name, Rego text); what cannot be parsed is left out, because it is a flaw already.
    """
    found = [module for module in (parse(name, text) for name, text in modules) if isinstance(module, Module)]
    return [_rule_of(module, rule) for module in found if module.kind == "permits" for rule in _allows(module)]


def _allows(module: Module) -> Iterator[Rule]:
    return (rule for rule in module.rules if rule.name == "allow")


def _rule_of(module: Module, rule: Rule) -> PermitRule:
    at = module.flaw(rule.node, "", "")
    bodies = rule.node.get("bodies", [])
    each = [_named_in(body) for body in bodies]
    # Another body is another way to be allowed: one that names no intent leaves the rule open.
    named = frozenset().union(*[names for names in each if names]) if each and all(each) else None
    return PermitRule(file=module.file, line=at.line, column=at.column, intents=named)


def _named_in(body: Node) -> frozenset[str] | None:
    """The intents that a body compares with; None when it compares with no constant."""
    named: set[str] = set()
    for statement in body["query"]["stmts"]:
        expression = statement["literal"].get("Expr", {}).get("expr", {})
        names = _compared(expression)
        if names is not None:
            named |= names
    return frozenset(named) or None


def _compared(expression: Node) -> set[str] | None:
    match expression:
        case {"BoolExpr": {"op": "Eq", "lhs": lhs, "rhs": rhs}} | {"AssignExpr": {"op": "Eq", "lhs": lhs, "rhs": rhs}}:
            sides = (lhs, rhs) if _is_intent(lhs) else (rhs, lhs)
            return _texts([sides[1]]) if _is_intent(sides[0]) else None
        case {"Membership": {"key": None, "value": value, "collection": collection}} if _is_intent(value):
            items = next(iter(collection.values())).get("items")
            return _texts(items) if isinstance(items, list) else None
        case _:
            return None


def _is_intent(node: Node) -> bool:
    path, whole = steps_of(node)
    return whole and path in INTENT_PATHS


def _texts(nodes: Sequence[Any]) -> set[str] | None:
    """Constant texts; None when one of them is no constant."""
    found = [node.get("String", {}).get("value") for node in nodes]
    texts = {text for text in found if isinstance(text, str)}
    return None if None in found or not texts else texts
