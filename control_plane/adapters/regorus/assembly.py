"""A set of Rego modules as one rule that gives every reason of every package.

Asking regorus for each package costs 8 us a rule; one set that all rules add to costs 2 us a rule. So the rules that
give reasons are moved into one package, where `deny contains R if B` becomes
`setpoint_found contains ["deny", "guardrails.blast_radius", R] if B`. Lines stay where they are, so that an error still
names the user's. Helpers get names of their own. A package that cannot be moved stays where it is and is asked.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from control_plane.adapters.regorus.module_checks import ENTRIES, FOUND, declared
from control_plane.adapters.regorus.plain import FAULT, Fault, faults_of
from control_plane.adapters.regorus.syntax import Module, Rule, parse, references, walk

MAIN = "setpoint.main"
QUERY = f"data.{MAIN}.{FOUND}"
INPUT_DEPTH = 2
APART = "__"
"""Between the name of a helper and that of its package."""

InputPath = tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Assembly:
    """What is given to regorus: modules by name, and the parts of the input that they can read."""

    modules: tuple[tuple[str, str], ...]
    reads: frozenset[InputPath]
    """Constant paths below `input`, at most `INPUT_DEPTH` long; the empty path is all of it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """How a policy set is ruled on: by the compiled form, by the interpreter, or each part by its own."""

    compiled: Assembly | None
    interpreted: Assembly | None


def planned(modules: Sequence[Module]) -> Plan:
    """Modules that passed the checks, parted into what each form of regorus rules on."""
    faults = {module.file: faults_of(module) for module in modules if module.kind in ENTRIES}
    doubtful = {module.package for module in modules if faults.get(module.file) is None}
    moved = _movable([module for module in modules if module.package not in doubtful])
    helpers = _helpers(modules)
    texts = {m.file: _moved(m, helpers[m.package]) for m in modules if m.package in moved}
    moved -= {module.package for module in modules if module.file in texts and texts[module.file] is None}
    plain = [module for module in modules if module.package in moved]
    compiled = [
        (m.file, f"{texts[m.file]}\n{_fault_rules(m, faults[m.file] or (), helpers[m.package])}") for m in plain
    ]
    return Plan(
        compiled=Assembly(modules=tuple(compiled), reads=reads_of(plain)) if compiled else None,
        interpreted=assemble([module for module in modules if module.package not in moved]),
    )


def _fault_rules(module: Module, faults: Sequence[Fault], helpers: Collection[str]) -> str:
    head = f'{FOUND} contains ["{FAULT}", "{module.by}", {{"code": "{FAULT}", "msg": ""}}]'
    roots = ((fault, fault.path[0]) for fault in faults)
    bodies = (fault.body(renamed(root, module) if root in helpers else root) for fault, root in roots)
    return "".join(f"{head} if {{ {body} }}\n" for body in bodies)


def assemble(modules: Sequence[Module]) -> Assembly | None:
    """One rule for the interpreter; None when no module gives reasons."""
    ruling = [module for module in modules if module.kind in ENTRIES]
    if not ruling:
        return None
    moved, helpers = _movable(ruling), _helpers(ruling)
    texts, gathered = [], []
    for module in modules:
        text = _moved(module, helpers[module.package]) if module.package in moved else None
        texts.append((module.file, text or module.source.decode()))
        if text is None:
            gathered += [_gathering(module, rule) for rule in module.rules if rule.name in ENTRIES.get(module.kind, ())]
    main = "\n".join([f"package {MAIN}", *dict.fromkeys(gathered)])
    return Assembly(modules=(*texts, (MAIN, main)), reads=reads_of(modules))


def reads_of(modules: Sequence[Module]) -> frozenset[InputPath]:
    """The parts of the input that these modules read."""
    return frozenset(path for module in modules for path in _input_paths(module))


def _gathering(module: Module, rule: Rule) -> str:
    place = ".".join(module.package)
    return f'{FOUND} contains ["{rule.name}", "{module.by}", reason] if some reason in data.{place}.{rule.name}'


def _movable(modules: Sequence[Module]) -> set[tuple[str, ...]]:
    """Packages whose names can be told from those of all others: no variable is called like a rule of its package."""
    helpers = _helpers(modules)
    doubtful = set()
    for module in modules:
        for rule in module.rules:
            local = declared(rule, module)
            if local & helpers[module.package] or any(APART in name for name in local | {rule.name}):
                doubtful.add(module.package)
        if module.aliases.keys() & helpers[module.package]:
            doubtful.add(module.package)
    return helpers.keys() - doubtful


def _helpers(modules: Sequence[Module]) -> dict[tuple[str, ...], set[str]]:
    """The rules of each package that give no reasons themselves."""
    found: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for module in modules:
        found[module.package] |= {rule.name for rule in module.rules} - set(ENTRIES.get(module.kind, ()))
    return found


def renamed(name: str, module: Module) -> str:
    """What a helper of the module's package is called where all packages are one."""
    return f"{name}{APART}{'_'.join(module.package[1:])}"


def _moved(module: Module, helpers: Collection[str]) -> str | None:
    """The module's text in the one package, or None when it would not mean the same."""
    head = module.tree["package"]["refr"]
    span = next(iter(head.values()))["span"]
    edits = [(span["start"], span["end"], MAIN)]
    for kind, node in walk(module.tree["rules"]):
        if kind == "Var" and node["value"] in helpers:
            edits.append((node["span"]["start"], node["span"]["end"], renamed(node["value"], module)))
    for rule in module.rules:
        if rule.name in ENTRIES[module.kind]:
            edits += _head_edits(module, rule)
    text = module.source
    for start, end, new in sorted(edits, reverse=True):
        text = text[:start] + new.encode() + text[end:]
    again = parse(module.file, text.decode())
    # The edits trust regorus' spans, so the result is compared with what was meant.
    same = isinstance(again, Module) and _meaning(again) == _expected(module, helpers)
    return text.decode() if same else None


def _head_edits(module: Module, rule: Rule) -> list[tuple[int, int, str]]:
    head = rule.node["head"]["Set"]
    name = head["refr"]["Var"]["span"]
    after = module.source.index(b"contains", name["end"]) + len(b"contains")
    return [
        (name["start"], name["end"], FOUND),
        (after, after, f' ["{rule.name}", "{module.by}",'),
        (head["span"]["end"], head["span"]["end"], "]"),
    ]


def _meaning(module: Module) -> list[Any]:
    return [_bare(node, module) for node in module.tree["rules"]]


def _expected(module: Module, helpers: Collection[str]) -> list[Any]:
    """What the moved module's rules must be: the same, but for the names of helpers and the heads that give reasons."""
    expected = _meaning(module)
    for kind, node in walk(expected):
        if kind == "Var" and node["value"] in helpers:
            node["value"] = renamed(node["value"], module)
    for node, rule in zip(expected, module.rules, strict=True):
        if rule.name in ENTRIES[module.kind]:
            head = node["Spec"]["head"]["Set"]
            tags = [{"String": {"value": rule.name}}, {"String": {"value": module.by}}]
            head["refr"] = {"Var": {"value": FOUND}}
            head["key"] = {"Array": {"items": [*tags, head["key"]]}}
    return expected


_PLACE_KEYS = {"line", "col", "start", "end"}


def _bare(node: Any, module: Module) -> Any:
    """A tree without places: a place that stands for a name becomes that name."""
    if isinstance(node, list):
        return [_bare(item, module) for item in node]
    if not isinstance(node, dict):
        return node
    if node.keys() == _PLACE_KEYS:
        return module.text_at(node)
    kept = {name: below for name, below in node.items() if name not in ("span", "eidx", "sidx", "qidx")}
    for name in ("field", "fields"):
        if name in kept:
            kept[name] = _without_places(kept[name])
    return {name: _bare(below, module) for name, below in kept.items()}


def _without_places(pairs: list[Any]) -> list[Any]:
    """`[place, name]` or a list of `[place, key, value]`, without the places."""
    if pairs and isinstance(pairs[0], dict):
        return pairs[1:]
    return [pair[1:] for pair in pairs]


def _input_paths(module: Module) -> set[InputPath]:
    found = {path[1:] for path in module.aliases.values() if path[0] == "input"}
    found |= {path[1:] for _, path, _ in references(module.tree["rules"]) if path[0] == "input"}
    return {path[:INPUT_DEPTH] for path in found}
