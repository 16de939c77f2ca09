"""What may be wrong in one Rego module although it can be parsed. Each check gives flaws; none evaluates anything."""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from control_plane.adapters.regorus.builtins import ARITY, TEST_ONLY, why_not
from control_plane.adapters.regorus.syntax import Module, Node, Rule, references, steps_of, walk
from control_plane.adapters.regorus.weighing import CODE
from control_plane.errors import Flaw

ENTRIES = {"permits": ("allow",), "guardrails": ("deny", "escalate")}
"""What each kind of package gives reasons with."""

VERDICTS = frozenset({"allow", "deny", "escalate"})
FOUND = "setpoint_found"
"""The one rule that all packages are gathered into."""

RESERVED = frozenset({FOUND, "input", "data"})

LOOPS_MAX = 3
"""Loops within loops in one rule. Time grows with the size of the input to this power."""

_COPY_SHAPE = 'Write it as {"code": "too_wide", "msg": "a sentence"}.'
_LITERALS = ("String", "RawString", "Number", "Bool", "Null", "Array", "Set")
_LOOPS = ("SomeIn", "Every")
_COMPREHENSIONS = ("ArrayCompr", "SetCompr", "ObjectCompr")


@dataclass(frozen=True, slots=True)
class Package:
    """What the modules of one package define together: rule names, and the arity of the functions among them."""

    names: frozenset[str]
    functions: Mapping[str, int]


def check_module(module: Module, packages: Mapping[tuple[str, ...], Package]) -> Iterator[Flaw]:
    """All flaws of one module; `packages` are those of the whole set."""
    own = packages[module.package]
    yield from _calls(module, packages)
    yield from _names(module, own)
    if module.kind == "test":
        return
    yield from _package(module)
    yield from _entries(module)
    yield from _reads(module)
    yield from _negations(module)
    yield from _constructs(module)
    yield from _loops(module)


def declared(rule: Rule, module: Module) -> set[str]:
    """Names that are variables somewhere in the rule."""
    found: set[str] = set()
    for kind, node in walk({"Rule": rule.node}):
        match kind:
            case "Func":
                found |= _variables(node["args"])
            case "AssignExpr":
                found |= _variables(node["lhs"]) if node["op"] == "ColEq" else _unified(node)
            case "SomeIn":
                found |= _variables([node["key"], node["value"]])
            case "SomeVars":
                found |= {module.text_at(span) for span in node["vars"]}
            case "Every":
                found |= {module.text_at(node[part]) for part in ("key", "value") if node[part]}
            case "RefBrack":
                found |= _variables(node["index"]) - RESERVED
    if rule.shape == "default":
        found |= _variables(rule.node.get("args", []))
    return found


def computed(rule: Rule) -> list[Any]:
    """What the rule evaluates: its head without its own name, and its bodies."""
    head = rule.node.get("head", {})
    kept = [{name: below for name, below in node.items() if name != "refr"} for node in head.values()]
    return [kept, rule.node.get("bodies", [])]


def _unified(node: Node) -> set[str]:
    return _variables([node["lhs"], node["rhs"]]) - RESERVED


def _variables(node: Any) -> set[str]:
    return {path[0] for _, path, _ in references(node)}


def _package(module: Module) -> Iterator[Flaw]:
    name, last = ".".join(module.package), module.package[-1]
    if module.kind == "unknown":
        cure = "Name it setpoint.permits.NAME, setpoint.guardrails.NAME or setpoint.lib.NAME."
        yield module.flaw(_head(module), f"package {name} is no permit, no guardrail and no library", cure)
    elif last.endswith("_test"):
        cure = "Let the name of the file end in _test as well, or rename the package."
        yield module.flaw(_head(module), f"package {name} is named like tests, but its file is not", cure)


def _head(module: Module) -> Node:
    head: Node = module.tree["package"]
    return head


def _entries(module: Module) -> Iterator[Flaw]:
    expected = ENTRIES.get(module.kind, ())
    for rule in module.rules:
        if rule.name in expected:
            yield from _entry(module, rule)
        elif rule.name in VERDICTS:
            what = {"permits": "a permit only allows", "guardrails": "a guardrail never allows"}
            problem = f"{what.get(module.kind, 'this package gives no reasons')}, but this defines {rule.name}"
            yield module.flaw(rule.node, problem, "Move it into a package of the other kind, or rename it.")


def _entry(module: Module, rule: Rule) -> Iterator[Flaw]:
    if rule.shape != "set" or not rule.plain:
        cure = f'Write `{rule.name} contains {{"code": "...", "msg": "..."}} if ...`.'
        yield module.flaw(rule.node, f"{rule.name} is not a set of reasons", cure)
        return
    key = rule.node["head"]["Set"]["key"]
    if key is None or key.keys() & set(_LITERALS):
        yield module.flaw(rule.node, f"a reason of {rule.name} is not an object", _COPY_SHAPE)
        return
    if "Object" in key:
        fields = {name["String"]["value"]: value for _, name, value in key["Object"]["fields"] if "String" in name}
        for name in ("code", "msg"):
            if name not in fields or fields[name].keys() & (set(_LITERALS) - {"String", "RawString"}):
                yield module.flaw(rule.node, f"a reason of {rule.name} has no text {name}", _COPY_SHAPE)
        code = fields.get("code", {}).get("String", {}).get("value")
        if code is not None and not CODE.fullmatch(code):
            cure = "Use lower-case letters, digits and underscores, 64 at most, a letter first."
            yield module.flaw(rule.node, f"the code {code!r} is none", cure)


def _reads(module: Module) -> Iterator[Flaw]:
    """References that a policy may not make: to other packages' verdicts, and to names that are not constant."""
    for node, path, whole in references(module.tree["rules"]):
        yield from _read(module, {"span": node["span"]}, path, whole)
    for node in module.tree["imports"]:
        yield from _read(module, node, *steps_of(node["refr"]))
    for rule in module.rules:
        local = declared(rule, module)
        for node, path, _ in references(computed(rule)):
            if path[0] in VERDICTS and path[0] not in local:
                cure = "Leave it out: every reason is kept, and deny beats escalate beats allow."
                yield module.flaw(node, f"a rule reads {path[0]}", cure)


def _read(module: Module, node: Node, path: tuple[str, ...], whole: bool) -> Iterator[Flaw]:
    if path[0] != "data":
        return
    if len(path) == 1:
        yield module.flaw(node, "data is read by a name that is not constant", "Name the policy data: data.limits[x].")
    elif path[1] == "setpoint" and (path[2:3] != ("lib",) or len(path) < 4):
        cure = "Put what both need into a package setpoint.lib.NAME and import it."
        yield module.flaw(node, "a policy reads another policy", cure)


def _negations(module: Module) -> Iterator[Flaw]:
    """`not is_number(input.x)` must not guard anything: where x is missing, OPA finds it undefined, and not true."""
    for rule in module.rules:
        local = declared(rule, module) - RESERVED
        for kind, node in walk(rule.node):
            if kind == "NotExpr" and not _is_safe_to_negate(node["expr"], local):
                cure = "Give it a rule of its own: `known if is_number(input.x)`, and then `not known`."
                problem = "`not` before what reads a field is ignored by OPA where the field is missing"
                yield module.flaw(node, problem, cure)


def _is_safe_to_negate(expr: Node, local: Collection[str]) -> bool:
    if steps_of(expr)[0]:
        return True
    read = [path for _, path, whole in references(expr) if not whole or len(path) > 1 or path[0] not in local]
    return not read and not any(kind in _COMPREHENSIONS for kind, _ in walk(expr))


def _constructs(module: Module) -> Iterator[Flaw]:
    for kind, node in walk(module.tree["rules"]):
        if kind == "Membership" and node["key"] is not None:
            yield module.flaw(node, "`key, value in ...` is not supported", "Write `some key, value in ...`.")
        elif kind == "NotExpr" and node["expr"].keys() & {"Set", "Object", "SetCompr", "ObjectCompr"}:
            yield module.flaw(
                node, "`not { ... }` is always false", "Give what stands in the braces a rule of its own."
            )
        elif kind == "Query":
            for statement in node["stmts"]:
                if statement.get("with_mods"):
                    cure = "Pass what differs as the argument of a function."
                    yield module.flaw(statement, "`with` is for tests", cure)


def _loops(module: Module) -> Iterator[Flaw]:
    for rule in module.rules:
        loops = sum(1 for kind, _ in walk(rule.node) if kind in _LOOPS)
        loops += sum(1 for kind, node in walk(rule.node) if kind == "Var" and node["value"] == "_")
        if loops > LOOPS_MAX:
            cure = "Give the inner loops rules of their own, or look things up by key."
            yield module.flaw(rule.node, f"{rule.name} has {loops} loops, more than {LOOPS_MAX}", cure)


def _names(module: Module, own: Package) -> Iterator[Flaw]:
    known = own.names | module.aliases.keys() | {"input", "data", "_"}
    for name in sorted(module.aliases.keys() & RESERVED):
        yield module.flaw(_head(module), f"an import is called {name}, which is taken", "Choose another name.")
    for rule in module.rules:
        local = declared(rule, module)
        for name in sorted((local | {rule.name}) & RESERVED):
            yield module.flaw(rule.node, f"the name {name} is taken", "Choose another name.")
        seen: set[str] = set()
        for node, path, _ in references(rule.node):
            if path[0] not in known | local | seen:
                seen.add(path[0])
                cure = "Declare it with := or some, define a rule of that name, or correct the spelling."
                yield module.flaw(node, f"nothing is called {path[0]}", cure)


def _calls(module: Module, packages: Mapping[tuple[str, ...], Package]) -> Iterator[Flaw]:
    for kind, node in walk(module.tree["rules"]):
        if kind != "Call":
            continue
        path, whole = steps_of(node["fcn"])
        arity = called_arity(module, path, packages) if whole else None
        given = len(node["params"])
        if arity is None and not (module.kind == "test" and ".".join(path) in TEST_ONLY):
            yield module.flaw(node, *why_not(".".join(path) if whole else "with a computed name"))
        elif arity is not None and arity != given:
            yield module.flaw(node, f"{'.'.join(path)} takes {arity} arguments, not {given}", "Correct the call.")
        yield from _arguments(module, ".".join(path), node)


def called_arity(module: Module, path: tuple[str, ...], packages: Mapping[tuple[str, ...], Package]) -> int | None:
    """How many arguments a function takes; None when there is none of that name."""
    package, name = home_of(module, path, packages)
    if package in packages and name in packages[package].functions:
        return packages[package].functions[name]
    return ARITY.get(".".join(path))


def home_of(
    module: Module, path: tuple[str, ...], packages: Collection[tuple[str, ...]]
) -> tuple[tuple[str, ...], str]:
    """The package that a reference leads to, and the rule in it; an empty name stands for all its rules."""
    if path[0] in module.aliases:
        path = (*module.aliases[path[0]], *path[1:])
    if path[0] != "data":
        return module.package, path[0]
    for length in range(len(path) - 1, 0, -1):
        if path[1 : length + 1] in packages:
            return path[1 : length + 1], path[length + 1] if len(path) > length + 1 else ""
    return path[1:], ""


def _arguments(module: Module, name: str, node: Node) -> Iterator[Flaw]:
    """Where an argument must be written out, so that both engines do the same."""
    if name not in ("sprintf", "regex.match") or not node["params"]:
        return
    first = node["params"][0]
    text = first.get("String", first.get("RawString", {})).get("value")
    if text is None:
        yield module.flaw(node, f"the first argument of {name} is not a constant text", "Write it out.")
    elif name == "sprintf" and re.search(r"%[^v%]", text.replace("%%", "")):
        yield module.flaw(node, f"{text!r} has a verb other than %v", "Use %v: the others differ between engines.")
