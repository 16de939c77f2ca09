"""Which policies may be ruled on by regorus' compiled form, and what would make it differ from the interpreter.

The compiled form is five times as fast. But it takes an error of a built-in function for undefined, and literals with
something undefined in them for values, so it is used only for policies that keep to a plain part of Rego. Where a type
could still cause an error there, a fault is added: a rule that is true for such a value. Then the interpreter is asked.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from control_plane.adapters.regorus.module_checks import ENTRIES, computed, declared
from control_plane.adapters.regorus.syntax import Module, Node, Rule, steps_of

FAULT = "fault"
"""What a fault is called among the reasons that a policy set gives."""

_SCALARS = frozenset({"String", "RawString", "Number", "Bool", "Null"})
_COMPARISONS = frozenset({"Eq", "Ne", "Lt", "Le", "Gt", "Ge"})
_TYPES = ("is_array", "is_boolean", "is_null", "is_number", "is_object", "is_set", "is_string")
_TEXT_TESTS = ("startswith", "endswith", "contains")
_COLLECTIONS = ("is_array", "is_set", "is_object")
_NAME = re.compile(r"[A-Za-z_]\w*")


@dataclass(frozen=True, slots=True)
class Fault:
    """What must not be: something else than one of the types at a path, or, without types, nothing at all."""

    path: tuple[str, ...]
    types: tuple[str, ...] = ()

    def body(self, root: str) -> str:
        """The body of a rule that is true for it; `root` is what the head of the path is called."""
        place = root + "".join(f".{step}" if _NAME.fullmatch(step) else f'["{step}"]' for step in self.path[1:])
        if not self.types:
            return f"not {place}"
        return "; ".join(f"not {each}({place})" for each in self.types)


class _NotPlain(Exception):
    """The module says something that only the interpreter is trusted with."""


def faults_of(module: Module) -> list[Fault] | None:
    """The faults that must be added; None when the module is not plain."""
    if any(path[:2] == ("data", "setpoint") for path in module.aliases.values()):
        return None
    plain = _Plain(module)
    try:
        plain.module_is()
    except _NotPlain:
        return None
    return list(dict.fromkeys(plain.faults))


@dataclass
class _Plain:
    """Walks a module, and stops at the first thing that is not plain."""

    module: Module
    faults: list[Fault] = field(default_factory=list)
    local: set[str] = field(default_factory=set)
    """Variables of the rule that is looked at."""

    def module_is(self) -> None:
        for rule in self.module.rules:
            self.local = declared(rule, self.module)
            self._rule(rule)
            alike = [other for other in self.module.rules if other.name == rule.name and other.shape == rule.shape]
            if rule.shape == "value" and len(alike) > 1 and any(_value_of(other) for other in alike):
                raise _NotPlain  # Several values may conflict.

    def _rule(self, rule: Rule) -> None:
        bodies = rule.node.get("bodies", [])
        if not rule.plain or len(bodies) > 1 or any(body["is_else"] or body["assign"] for body in bodies):
            raise _NotPlain
        for body in bodies:
            self._query(body["query"])
        match rule.shape:
            case "default":
                self._default(rule)
            case "set":
                self._reason(rule)
            case "function":
                if _value_of(rule) or any("Var" not in arg for arg in rule.node["head"]["Func"]["args"]):
                    raise _NotPlain
            case "value":
                value = _value_of(rule)
                if value and not self._is_value(value, loops=any(_loops(computed(rule)[1:]))):
                    raise _NotPlain

    def _default(self, rule: Rule) -> None:
        value = rule.node["value"]
        empty = "Array" in value and not value["Array"]["items"]
        if rule.node.get("args") or not (value.keys() & _SCALARS or empty):
            raise _NotPlain

    def _is_value(self, value: Node, *, loops: bool) -> bool:
        """What a rule may be: a constant, or, where it has only one, what stands at a path or in a comprehension."""
        if _is_constant(value):
            return True
        if loops:
            return False
        if value.keys() & {"ArrayCompr", "SetCompr"}:
            self._comprehension(value)
        else:
            self._path(value)
        return True

    def _reason(self, rule: Rule) -> None:
        key = rule.node["head"]["Set"]["key"]
        if rule.name not in ENTRIES.get(self.module.kind, ()) or "Object" not in key:
            raise _NotPlain
        for _, name, value in key["Object"]["fields"]:
            if "String" not in name:
                raise _NotPlain
            match value:
                case {"Call": {"fcn": {"Var": {"value": "sprintf"}}, "params": [_, {"Array": {"items": items}}]}}:
                    for item in items:
                        self._defined(item)
                case _:
                    self._defined(value)

    def _defined(self, value: Node) -> None:
        """Part of a reason: the two forms differ where it is undefined."""
        if value.keys() & _SCALARS or ("Var" in value and value["Var"]["value"] in self.local):
            return
        path = self._path(value)
        if path[0] in self.local:
            raise _NotPlain
        self.faults.append(Fault(path))

    def _query(self, query: Node) -> None:
        for statement in query["stmts"]:
            if statement.get("with_mods"):
                raise _NotPlain
            match statement["literal"]:
                case {"SomeIn": {"key": key, "value": {"Var": _}, "collection": collection}} if not key or "Var" in key:
                    self._typed(collection, *_COLLECTIONS)
                case {"NotExpr": {"expr": expr}}:
                    self._expression(expr, negated=True)
                case {"Expr": {"expr": expr}}:
                    self._expression(expr)
                case _:
                    raise _NotPlain

    def _expression(self, expr: Node, *, negated: bool = False) -> None:
        match expr:
            case {"Bool": _}:
                return
            case {"BoolExpr": {"op": op, "lhs": left, "rhs": right}} if op in _COMPARISONS:
                self._operand(left)
                self._operand(right)
            case {"Membership": {"key": None, "value": value, "collection": collection}} if not negated:
                self._operand(value)
                if not _is_constant(collection):
                    self._typed(collection, *_COLLECTIONS)
            case {"AssignExpr": {"op": "ColEq", "lhs": {"Var": _}, "rhs": value}} if not negated:
                self._assigned(value)
            case {"Call": {"fcn": {"Var": {"value": name}}, "params": params}}:
                self._call(name, params)
            case _:
                self._path(expr)

    def _assigned(self, value: Node) -> None:
        """The compiled form goes on with a variable that is undefined; so it must not be."""
        match value:
            case {"ArrayCompr": _} | {"SetCompr": _}:
                self._comprehension(value)
            case {"Call": {"fcn": {"Var": {"value": "count"}}, "params": [counted]}}:
                self._typed(counted, *_COLLECTIONS)
                self._defined(counted)
            case _:
                self._defined(value)

    def _call(self, name: str, params: list[Node]) -> None:
        own = {rule.name for rule in self.module.rules if rule.shape == "function"}
        for param in params:
            if name in own:
                self._defined(param)
            elif name in _TYPES:
                self._operand(param)
            elif name not in _TEXT_TESTS:
                raise _NotPlain
            elif not param.keys() & {"String", "RawString"}:
                self._typed(param, "is_string")

    def _operand(self, value: Node) -> None:
        match value:
            case {"Call": {"fcn": {"Var": {"value": "count"}}, "params": [counted]}}:
                self._typed(counted, *_COLLECTIONS)
            case _ if not value.keys() & _SCALARS:
                self._path(value)

    def _comprehension(self, value: Node) -> None:
        below = next(iter(value.values()))
        if "Var" not in below["term"] or below["term"]["Var"]["value"] not in self.local:
            raise _NotPlain
        self._query(below["query"])

    def _typed(self, value: Node, *types: str) -> None:
        """A place where another type is an error: it must be one that a rule of its own can look at."""
        path = self._path(value)
        if path[0] in self.local:
            raise _NotPlain
        self.faults.append(Fault(path, types))

    def _path(self, value: Node) -> tuple[str, ...]:
        path, whole = steps_of(value)
        if not whole or path in {("input",), ("data",), ("_",)} or path[:2] == ("data", "setpoint"):
            raise _NotPlain
        if any('"' in step or "\\" in step or not step.isprintable() for step in path):
            raise _NotPlain
        return path


def _value_of(rule: Rule) -> Node | None:
    head = next(iter(rule.node.get("head", {"": {}}).values()))
    assign = head.get("assign")
    value: Node | None = assign["value"] if assign else None
    return None if value and value.get("Bool", {}).get("value") is True else value


def _is_constant(value: Node) -> bool:
    if value.keys() & {"Array", "Set"}:
        items = next(iter(value.values()))["items"]
        return all(item.keys() & _SCALARS for item in items)
    return bool(value.keys() & _SCALARS)


def _loops(node: Any) -> Iterator[bool]:
    """One True for each loop in the bodies of a rule, comprehensions aside."""
    if isinstance(node, list):
        for item in node:
            yield from _loops(item)
    elif isinstance(node, dict):
        yield from (True for name in node if name == "SomeIn")
        for name, below in node.items():
            if not name.endswith("Compr"):
                yield from _loops(below)
