"""Rego and policy data of a workspace, with the built-in permits and guardrails beneath them.

A module's name is its path under `policies/` without `.rego`; a workspace's own module stands in for the built-in one
of the same name. Each top-level key of `policies/data.yaml` becomes `data.<key>`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from control_plane.catalogue import ControlItem
from control_plane.catalogue.reference import REFERENCE, as_policy_data
from control_plane.errors import InvalidWorkspace
from control_plane.workspace.declarations import canonical
from control_plane.workspace.files import YAML, Folder, SourceFile
from control_plane.workspace.flaws import Flaws
from control_plane.workspace.tools import CheckTools
from control_plane.workspace.yaml_tree import read_yaml

FOLDER = "policies"
SUFFIX = ".rego"
TEST_SUFFIX = "_test"
DATA_FILES = ("policies/data.yaml", "policies/data.yml")
OWN_ROOT = "setpoint"
"""Where Rego packages of permits and guardrails live; data may not lie over them."""


@dataclass(frozen=True, slots=True)
class Policies:
    """The policies of a workspace. `tests` are the workspace's own; those of built-ins ran when they were built."""

    modules: dict[str, str]
    tests: dict[str, str]
    data: dict[str, str]
    built_in: frozenset[str]
    tables: tuple[ControlItem, ...] = ()

    @property
    def data_for_tests(self) -> dict[str, str]:
        """What the workspace's tests find under `data`: as when it runs, reference data is among it."""
        return {**self.data, REFERENCE: as_policy_data(self.tables)} if self.tables else self.data

    def file_of(self, name: str) -> str:
        """Where a module or a test stands, as people are told."""
        return f"{'built-in ' if name in self.built_in else ''}{FOLDER}/{name}{SUFFIX}"

    @property
    def items(self) -> tuple[ControlItem, ...]:
        """What travels: modules and data, without tests."""
        modules = (ControlItem(kind="policy", name=name, body=text) for name, text in self.modules.items())
        data = (ControlItem(kind="policy_data", name=name, body=text) for name, text in self.data.items())
        return (*modules, *data)


def built_in_policies() -> dict[str, str]:
    """The modules that come with Setpoint, by name, without their tests."""
    return {name: text for name, text in _below(files(FOLDER), "") if not name.endswith(TEST_SUFFIX)}


def read_policies(
    folder: Folder, flaws: Flaws, *, with_built_in: bool, tables: tuple[ControlItem, ...] = ()
) -> Policies:
    """What lies in `policies/`, with the built-ins beneath it unless they are not wanted, and the tables beside it."""
    texts = {
        source.path.removeprefix(f"{FOLDER}/").removesuffix(SUFFIX): source.text
        for source in folder.in_folder(FOLDER, SUFFIX)
    }
    own = {name: text for name, text in texts.items() if not name.endswith(TEST_SUFFIX)}
    built_in = {name: text for name, text in built_in_policies().items() if name not in own} if with_built_in else {}
    return Policies(
        modules={**built_in, **own},
        tests={name: text for name, text in texts.items() if name.endswith(TEST_SUFFIX)},
        data=_data(folder.in_folder(FOLDER, *YAML), flaws),
        built_in=frozenset(built_in),
        tables=tables,
    )


def check_policies(policies: Policies, tools: CheckTools, flaws: Flaws) -> None:
    """Do they compile, and do their tests pass? Tests are only run on policies that compile."""
    modules = {policies.file_of(name): text for name, text in policies.modules.items()}
    found = tuple(tools.check_policies(modules))
    flaws.extend(found)
    if found or not policies.tests:
        return
    tests = {policies.file_of(name): text for name, text in policies.tests.items()}
    try:
        result = tools.test_policies(modules, tests, policies.data_for_tests)
    except InvalidWorkspace as exc:
        flaws.extend(exc.flaws)
        return
    flaws.extend(result.failed)
    # Tests of built-ins ran when they were built, so only the workspace's own can be called untested here.
    built_in = {policies.file_of(name) for name in policies.built_in}
    flaws.warnings += [flaw for flaw in result.uncovered if flaw.file not in built_in]


def _data(sources: Sequence[SourceFile], flaws: Flaws) -> dict[str, str]:
    found: dict[str, Any] = {}
    for source in sources:
        path, text = source.path, source.text
        if path not in DATA_FILES:
            flaws.warn(path, None, "this file is not read", f"Policy data belongs in {DATA_FILES[0]}.")
            continue
        for node in read_yaml(path, text, flaws) or ():
            if not isinstance(node.value, dict):
                flaws.add(path, node, "policy data is no mapping", "Write `name: value`; Rego reads it as data.name.")
                continue
            for name, entry in node.value.items():
                if not name.isidentifier() or name in (OWN_ROOT, REFERENCE) or name in found:
                    problem = f"policy data cannot be called {name} here"
                    flaws.add(path, entry.key, problem, "Choose another name: letters, digits and underscores.")
                found[name] = entry.value.plain()
    return {name: canonical(value) for name, value in found.items()}


def _below(folder: Traversable, prefix: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir() and not entry.name.startswith(("_", ".")):
            found += _below(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(SUFFIX):
            found.append((prefix + entry.name.removesuffix(SUFFIX), entry.read_text(encoding="utf-8")))
    return found
