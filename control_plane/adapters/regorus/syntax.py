"""One Rego module as a syntax tree, with what the checks and the assembly ask of it.

The tree is regorus' own. Its parser takes time that doubles with each open bracket and may overflow the stack, so a
module is measured before it is parsed.
"""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import msgspec

from control_plane.errors import Flaw

os.environ["RUST_BACKTRACE"] = "0"  # Set before regorus is loaded: with it every error costs twice as much.

import regorus

MODULE_BYTES_MAX = 64 * 1024
NESTING_MAX = 10
"""Brackets within brackets. Parsing takes 2 ms at 10 and 2.7 s at 20."""

Node = dict[str, Any]
Kind = Literal["permits", "guardrails", "lib", "test", "unknown"]

TEST_SUFFIX = "_test"
"""How the names of test modules end, before `.rego` where they have that."""
_OPAQUE = re.compile(r'#[^\n]*|"(?:\\.|[^"\\\n])*"|`[^`]*`')
_OPEN, _CLOSE = "([{", ")]}"
_PLACE = re.compile(r"--> (.+?):(\d+):(\d+)")


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule, or one of its definitions. `name` is the first part of its head; `node` is the tree below."""

    name: str
    shape: Literal["set", "value", "function", "default"]
    plain: bool
    """Whether the head is the name alone, as in `deny contains` but not in `deny.x contains`."""
    node: Node


@dataclass(frozen=True)
class Module:
    """One parsed module."""

    file: str
    source: bytes
    tree: Node

    @cached_property
    def package(self) -> tuple[str, ...]:
        return path_of(self.tree["package"]["refr"])

    @cached_property
    def kind(self) -> Kind:
        if is_test(self.file):
            return "test"
        match self.package:
            case ("setpoint", "permits" | "guardrails" | "lib" as kind, _):
                return kind
            case _:
                return "unknown"

    @cached_property
    def by(self) -> str:
        """How reasons name this package: without `setpoint.`."""
        return ".".join(self.package[1:])

    @cached_property
    def rules(self) -> tuple[Rule, ...]:
        return tuple(_rule(node) for node in self.tree["rules"])

    @cached_property
    def aliases(self) -> dict[str, tuple[str, ...]]:
        """What each import is called here, and the path it stands for. `rego.v1` imports nothing."""
        found = {}
        for node in self.tree["imports"]:
            path = path_of(node["refr"])
            if path[0] in ("data", "input"):
                found[self.text_at(node["as"]) if node.get("as") else path[-1]] = path
        return found

    def text_at(self, span: Node) -> str:
        return self.source[span["start"] : span["end"]].decode()

    def flaw(self, node: Node | None, problem: str, cure: str) -> Flaw:
        """A flaw at a node of the tree; without one it is of the whole file."""
        start = node["span"]["start"] if node else 0
        before = self.source[:start].decode()
        line = before.count("\n") + 1 if node else 0
        column = len(before) - (before.rfind("\n") + 1) + 1 if node else 0
        return Flaw(file=self.file, line=line, column=column, problem=problem, cure=cure)


def is_test(name: str) -> bool:
    """Whether a module is a test of policies by its name, and so never part of a ruling."""
    return name.removesuffix(".rego").endswith(TEST_SUFFIX)


def new_engine() -> Any:
    """An engine of regorus, for the thread that asks."""
    return regorus.Engine()


def compile_program(modules: Sequence[tuple[str, str]], data: str, query: str) -> Any:
    """The compiled form of modules that passed the checks, on a machine of its own, to be asked one query."""
    machine = regorus.Rvm()
    machine.load_program(regorus.Program.compile_from_modules(data, list(modules), [query]))
    machine.set_data_json(data)
    return machine


def parse(file: str, text: str) -> Module | Flaw:
    """The module, or why it is none."""
    too_much = _measured(file, text)
    if too_much:
        return too_much
    engine = new_engine()
    try:
        engine.add_policy(file, text)
        tree = msgspec.json.decode(engine.get_ast_as_json())[0]["ast"]
    except RuntimeError as exc:
        return _syntax_flaw(file, text, str(exc))
    return Module(file, text.encode(), tree)


def walk(node: Any) -> Iterator[tuple[str, Node]]:
    """Every named node below, with its name, from the outside in. A list of statements is called `Query`."""
    if isinstance(node, list):
        for item in node:
            yield from walk(item)
    elif isinstance(node, dict):
        if "stmts" in node:
            yield "Query", node
        for name, below in node.items():
            if name[0].isupper() and isinstance(below, dict):
                yield name, below
            yield from walk(below)


def path_of(node: Node) -> tuple[str, ...]:
    """The constant path that a reference begins with: `data.limits[input.x].max` gives `("data", "limits")`."""
    return steps_of(node)[0]


def steps_of(node: Node) -> tuple[tuple[str, ...], bool]:
    """The constant path that a reference begins with, and whether that is all of it. Not a reference: `((), False)`."""
    match node:
        case {"Var": {"value": name}}:
            return (name,), True
        case {"RefDot": {"refr": before, "field": [_, field]}}:
            path, whole = steps_of(before)
            return ((*path, field), True) if whole else (path, False)
        case {"RefBrack": {"refr": before, "index": {"String": {"value": field}}}}:
            path, whole = steps_of(before)
            return ((*path, field), True) if whole else (path, False)
        case {"RefBrack": {"refr": before}}:
            return steps_of(before)[0], False
        case _:
            return (), False


def references(node: Any) -> Iterator[tuple[Node, tuple[str, ...], bool]]:
    """Every reference below, whole and once: where it stands, its constant path, and whether that is all of it.

    What stands inside the brackets of a reference is a reference of its own. Names of called functions are none.
    """
    if isinstance(node, list):
        for item in node:
            yield from references(item)
    elif isinstance(node, dict):
        if "Call" in node:
            yield from references(node["Call"]["params"])
        elif node.keys() & {"Var", "RefDot", "RefBrack"}:
            path, whole = steps_of(node)
            if path:
                yield next(iter(node.values())), path, whole
            yield from _inside(node, path == ())
        else:
            for below in node.values():
                yield from references(below)


def _inside(node: Node, headless: bool) -> Iterator[tuple[Node, tuple[str, ...], bool]]:
    """The references within a reference: in its brackets, and at its head when that is no name."""
    match node:
        case {"RefDot": {"refr": before}}:
            yield from _inside(before, headless)
        case {"RefBrack": {"refr": before, "index": index}}:
            yield from references(index)
            yield from _inside(before, headless)
        case {"Var": _}:
            return
        case _ if headless:
            yield from references(node)


def _rule(node: Node) -> Rule:
    match node:
        case {"Default": {"refr": head} as below}:
            return Rule(path_of(head)[0], "default", "Var" in head, below)
        case {"Spec": {"head": {"Set": {"refr": head}}} as below}:
            return Rule(path_of(head)[0], "set", "Var" in head, below)
        case {"Spec": {"head": {"Func": {"refr": head}}} as below}:
            return Rule(path_of(head)[0], "function", "Var" in head, below)
        case {"Spec": {"head": {"Compr": {"refr": head}}} as below}:
            return Rule(path_of(head)[0], "value", "Var" in head, below)
    raise AssertionError(f"regorus gave a rule of an unknown shape: {list(node)}")


def _measured(file: str, text: str) -> Flaw | None:
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        return Flaw(file=file, line=0, column=0, problem="the module is not text", cure="Save it in UTF-8.")
    if size > MODULE_BYTES_MAX:
        problem = f"the module has {size} bytes, more than {MODULE_BYTES_MAX}"
        return Flaw(file=file, line=0, column=0, problem=problem, cure="Split it, or keep rules as policy data.")
    depth, at = 0, 0
    for match in re.finditer(r"[(\[{)\]}\n]", _OPAQUE.sub(_blank, text)):
        mark, at = match.group(), match.start()
        depth += (mark in _OPEN) - (mark in _CLOSE)
        if depth > NESTING_MAX:
            line, column = text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)
            problem = f"more than {NESTING_MAX} brackets are open at once"
            return Flaw(
                file=file, line=line, column=column, problem=problem, cure="Give the inner part a rule of its own."
            )
    return None


def _blank(match: re.Match[str]) -> str:
    """Comments and texts as blanks, in the same places."""
    return re.sub(r"[^\n]", " ", match.group())


def _syntax_flaw(file: str, text: str, detail: str) -> Flaw:
    found = _PLACE.search(detail)
    what = detail.rsplit("error: ", 1)[-1].strip().splitlines()
    line, column = (int(found.group(2)), int(found.group(3))) if found else (0, 0)
    return Flaw(
        file=file,
        line=line,
        column=column,
        problem=what[0] if what else "the module cannot be parsed",
        cure="Write it in Rego v1, as `opa fmt` leaves it.",
    )
