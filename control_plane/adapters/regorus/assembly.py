"""A set of Rego modules as one rule that gives every reason of every package.

Asking regorus for each package costs 8 us a rule; one set that all rules add to costs 2 us a rule. So the rules that
give reasons are moved into one package, where `deny contains R if B` becomes
`setpoint_found contains ["deny", "guardrails.blast_radius", R] if B`. Lines stay where they are, so that an error still
names the user's. A package whose names would mean something else there stays where it is and is asked.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from control_plane.adapters.regorus.module_checks import ENTRIES, FOUND, declared
from control_plane.adapters.regorus.syntax import Module, Rule, parse, references, steps_of, walk

MAIN = "setpoint.main"
QUERY = f"data.{MAIN}.{FOUND}"
INPUT_DEPTH = 2

InputPath = tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Assembly:
    """What is given to regorus: modules by name, and the parts of the input that they can read."""

    modules: tuple[tuple[str, str], ...]
    reads: frozenset[InputPath]
    """Constant paths below `input`, at most `INPUT_DEPTH` long; the empty path is all of it."""


def assemble(modules: Sequence[Module]) -> Assembly | None:
    """One rule out of modules that passed the checks; None when none of them gives reasons."""
    ruling = [module for module in modules if module.kind in ENTRIES]
    if not ruling:
        return None
    moved = _movable(ruling)
    texts, gathered = [], []
    for module in modules:
        text = _moved(module) if module.package in moved else None
        texts.append((module.file, text or module.source.decode()))
        if text is None:
            gathered += [_gathering(module, rule) for rule in module.rules if rule.name in ENTRIES.get(module.kind, ())]
    main = "\n".join([f"package {MAIN}", *dict.fromkeys(gathered)])
    return Assembly(
        modules=(*texts, ("setpoint.main", main)),
        reads=frozenset(path for module in modules for path in _input_paths(module)),
    )


def _gathering(module: Module, rule: Rule) -> str:
    place = ".".join(module.package)
    return f'{FOUND} contains ["{rule.name}", "{module.by}", reason] if some reason in data.{place}.{rule.name}'


def _movable(modules: Sequence[Module]) -> set[tuple[str, ...]]:
    """Packages whose every name means the same when they are one package."""
    defines: dict[tuple[str, ...], set[str]] = defaultdict(set)
    says: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for module in modules:
        says[module.package] |= module.aliases.keys()
        for rule in module.rules:
            if rule.name not in ENTRIES[module.kind]:
                defines[module.package].add(rule.name)
            says[module.package] |= {path[0] for _, path, _ in references(rule.node)} | declared(rule, module)
            says[module.package] |= {steps_of(node["fcn"])[0][0] for kind, node in walk(rule.node) if kind == "Call"}
    moved: set[tuple[str, ...]] = set()
    for package in sorted(says):
        if not any(defines[package] & says[other] or defines[other] & says[package] for other in moved):
            moved.add(package)
    return moved


def _moved(module: Module) -> str | None:
    """The module's text in the one package, or None when it would not mean the same."""
    head = module.tree["package"]["refr"]
    span = next(iter(head.values()))["span"]
    edits = [(span["start"], span["end"], MAIN)]
    for rule in module.rules:
        if rule.name in ENTRIES[module.kind]:
            edits += _head_edits(module, rule)
    text = module.source
    for start, end, new in sorted(edits, reverse=True):
        text = text[:start] + new.encode() + text[end:]
    again = parse(module.file, text.decode())
    # The edits trust regorus' spans, so the result is compared with what was meant.
    return text.decode() if isinstance(again, Module) and _meaning(again) == _expected(module) else None


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


def _expected(module: Module) -> list[Any]:
    """What the moved module's rules must be: the same, but for the heads that give reasons."""
    expected = _meaning(module)
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
