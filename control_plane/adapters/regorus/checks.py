"""What is wrong in a set of Rego modules, without OPA and without evaluating them on anything.

regorus finds an unknown function, a misspelt name or a recursion only when it gets there, and a recursion of functions
ends the process. So all of it is found here, on the syntax tree.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from control_plane.adapters.regorus.input_check import check_input
from control_plane.adapters.regorus.module_checks import ENTRIES, Package, check_module, computed, declared, home_of
from control_plane.adapters.regorus.syntax import Module, parse, references, steps_of, walk
from control_plane.errors import Flaw

MODULES_MAX = 200
DATA_CHARS_MAX = 16 * 1024 * 1024

Place = tuple[tuple[str, ...], str]
"""A rule: its package and its name."""


def check_policies(modules: Sequence[tuple[str, str]]) -> list[Flaw]:
    """All flaws of (name, Rego text) modules, in the order of the files. Modules named `*_test` are tests.

    Fields of the input that do not exist are flaws here and not in `parsed`: a policy of an older version that reads
    one still rules.
    """
    good, flaws = parsed(modules)
    return _in_order([*flaws, *(flaw for module in good for flaw in check_input(module))])


def parsed(modules: Sequence[tuple[str, str]]) -> tuple[list[Module], list[Flaw]]:
    """The modules that can be parsed, and all flaws of the set."""
    if len(modules) > MODULES_MAX:
        problem = f"there are {len(modules)} modules, more than {MODULES_MAX}"
        return [], [Flaw(file="policies", line=0, column=0, problem=problem, cure="Keep rules as policy data.")]
    results = [parse(name, text) for name, text in modules]
    good = [result for result in results if isinstance(result, Module)]
    flaws = [result for result in results if isinstance(result, Flaw)]
    packages = _packages(good)
    for module in good:
        flaws += check_module(module, packages)
    flaws += [*_kindless(good), *_recursions(good, packages)]
    return good, _in_order(flaws)


def _in_order(flaws: Sequence[Flaw]) -> list[Flaw]:
    return sorted(set(flaws), key=lambda flaw: (flaw.file, flaw.line, flaw.column, flaw.problem))


def data_document(data: Sequence[tuple[str, str]]) -> tuple[str, list[Flaw]]:
    """Policy data, (name, JSON text) each, as one JSON object; and what is wrong with it."""
    whole, flaws = {}, []
    for name, text in data:
        if name in ("setpoint", "") or not name.isidentifier():
            cure = "Choose another name, of letters, digits and underscores."
            flaws.append(_data_flaw(name, f"policy data cannot be called {name!r}", cure))
        try:
            whole[name] = msgspec.json.decode(text)
        except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as exc:
            flaws.append(_data_flaw(name, f"the policy data is no JSON ({exc})", "Correct it."))
    document = msgspec.json.encode(whole).decode()
    if len(document) > DATA_CHARS_MAX:
        problem = f"all policy data together has {len(document)} characters, more than {DATA_CHARS_MAX}"
        flaws.append(_data_flaw("data", problem, "Keep large tables as reference data."))
    return document, flaws


def _data_flaw(name: str, problem: str, cure: str) -> Flaw:
    return Flaw(file=name, line=0, column=0, problem=problem, cure=cure)


def _packages(modules: Sequence[Module]) -> dict[tuple[str, ...], Package]:
    names: dict[tuple[str, ...], set[str]] = defaultdict(set)
    functions: dict[tuple[str, ...], dict[str, int]] = defaultdict(dict)
    for module in modules:
        for rule in module.rules:
            names[module.package].add(rule.name)
            if rule.shape == "function":
                functions[module.package][rule.name] = len(rule.node["head"]["Func"]["args"])
        names.setdefault(module.package, set())
    return {package: Package(frozenset(names[package]), functions[package]) for package in names}


def _kindless(modules: Sequence[Module]) -> Iterator[Flaw]:
    """Permits and guardrails that give no reason: most likely a misspelt name, and then they guard nothing."""
    by_package: dict[tuple[str, ...], list[Module]] = defaultdict(list)
    for module in modules:
        by_package[module.package].append(module)
    for together in by_package.values():
        module = together[0]
        expected = ENTRIES.get(module.kind, ())
        if expected and not any(rule.name in expected for each in together for rule in each.rules):
            cure = f"Name its rules {' or '.join(expected)}."
            yield module.flaw(module.tree["package"], f"{module.by} gives no reason", cure)


def _recursions(modules: Sequence[Module], packages: Mapping[tuple[str, ...], Package]) -> Iterator[Flaw]:
    leads_to = _dependencies(modules, packages)
    for module in modules:
        for rule in module.rules:
            place = (module.package, rule.name)
            if place in _reachable(place, leads_to):
                cure = "Break the circle: Rego has no recursion."
                yield module.flaw(rule.node, f"{rule.name} depends on itself", cure)


def _dependencies(modules: Sequence[Module], packages: Mapping[tuple[str, ...], Package]) -> dict[Place, set[Place]]:
    leads_to: dict[Place, set[Place]] = defaultdict(set)
    for module in modules:
        for rule in module.rules:
            local = declared(rule, module)
            parts = computed(rule)
            paths = [path for _, path, _ in references(parts) if path[0] not in local]
            paths += [steps_of(node["fcn"])[0] for kind, node in walk(parts) if kind == "Call"]
            for path in paths:
                package, name = home_of(module, path, packages) if path else ((), "")
                found = packages[package].names if package in packages else frozenset()
                leads_to[module.package, rule.name] |= {(package, each) for each in found if name in ("", each)}
    return leads_to


def _reachable(start: Place, leads_to: Mapping[Place, set[Place]]) -> set[Place]:
    reached: set[Place] = set()
    waiting = list(leads_to.get(start, ()))
    while waiting:
        place = waiting.pop()
        if place not in reached:
            reached.add(place)
            waiting += leads_to.get(place, ())
    return reached
