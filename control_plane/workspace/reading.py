"""A user's folder in, a workspace out; or InvalidWorkspace with everything that is wrong in it.

Nothing is started and nothing is written. Python agents and executors are loaded, because only then they say what they
are.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec import Struct

from control_plane.catalogue import ControlItem, ControlSet
from control_plane.errors import Flaw, InvalidWorkspace
from control_plane.workspace.checking import Checking, undeclared_executors
from control_plane.workspace.data_checks import warn_of_data
from control_plane.workspace.declarations import Declarations, Documents, read_documents
from control_plane.workspace.event_schemas import read_schemas
from control_plane.workspace.executor_checks import ExecutorsFound, check_executors, warn_of_blindness
from control_plane.workspace.files import Folder
from control_plane.workspace.flaws import Flaws
from control_plane.workspace.llm_agents import listened_to, prompt_items, read_prompts
from control_plane.workspace.policies import check_policies, read_policies
from control_plane.workspace.policy_checks import check_tables_read, warn_of_permits
from control_plane.workspace.settings_file import SettingsFile, settings_in
from control_plane.workspace.tools import CheckTools
from control_plane.workspace.trigger_checks import check_triggers, declared_types, definition_of


@dataclass(frozen=True, kw_only=True)
class Workspace:
    """A workspace that may start. `settings` is what `setpoint.yaml` says; `control_plane.settings` judges it.

    Executors and triggers are their own keys with `name`, `kind` and `file`; the file is empty for an executor that
    needs no declaration. One in Python has the kind `python`, and its `source`. `policy_tests` are (module name, Rego).
    """

    root: Path
    settings_file: SettingsFile
    controls: ControlSet
    executors: tuple[Mapping[str, Any], ...]
    triggers: tuple[Mapping[str, Any], ...]
    policy_tests: tuple[tuple[str, str], ...]
    warnings: tuple[Flaw, ...]

    @property
    def settings(self) -> Mapping[str, Any]:
        """The settings as they were written."""
        return self.settings_file.mapping

    def locate(self, key: str) -> tuple[int, int]:
        """Line and column of a setting's value in `setpoint.yaml`; (0, 0) when it is not there."""
        return self.settings_file.locate(key)


def read_workspace(root: Path, tools: CheckTools, *, builtin_policies: bool | None = None) -> Workspace:
    """Read and check all of it. Raises InvalidWorkspace with every flaw, by file and line.

    Args:
        root: the folder that holds `setpoint.yaml`.
        tools: judges of what only adapters, executors and triggers know.
        builtin_policies: whether the built-in policies are part of it; by default what `setpoint.yaml` says, else yes.
    """
    flaws = Flaws()
    folder = Folder(root, flaws)
    settings = settings_in(folder, flaws)
    folder.check_names()
    if builtin_policies is None:
        said = settings.node.get("policies", "builtin")
        builtin_policies = said is None or said.value is not False
    documents = read_documents(folder, tools.executors, tools.triggers, flaws)
    schemas = read_schemas(folder, tools.compiling.schemas, flaws)
    tables = documents.tables.items
    policies = read_policies(folder, flaws, with_built_in=builtin_policies, tables=tables)
    heard: set[str] = set()
    executors = check_executors(documents, folder, tools, flaws)
    agents = _checked(documents, executors, folder, tools, flaws, heard)
    known = None if len(flaws) else declared_types(documents, [schema.name for schema in schemas], heard)
    check_triggers(documents, tools, flaws, known)
    if "policies" not in folder.unread:
        # Without one of them the tests of the others say what is not so.
        check_policies(policies, tools, flaws)
    check_tables_read(documents, policies, flaws)
    warn_of_blindness(documents, flaws)
    warn_of_data(documents, schemas, tools.compiling.expressions, flaws)
    warn_of_permits(documents, policies, tools, flaws)
    if len(flaws):
        raise InvalidWorkspace(tuple(flaws))
    return Workspace(
        root=root,
        settings_file=settings,
        controls=ControlSet.of(
            [*_items(documents), *(found.item for found in executors.python), *agents, *schemas, *policies.items]
        ),
        executors=(
            *_definitions(documents.executors),
            *(found.definition for found in executors.python),
            *_implied(documents, executors, tools),
        ),
        triggers=_definitions(documents.triggers),
        policy_tests=tuple(sorted(policies.tests.items())),
        warnings=tuple(flaws.warnings),
    )


def _checked(
    documents: Documents,
    executors: ExecutorsFound,
    folder: Folder,
    tools: CheckTools,
    flaws: Flaws,
    heard: set[str],
) -> list[ControlItem]:
    """Check documents against one another, and with them the Python agents, which are given back beside the prompts;
    what agents listen to is added to `heard`."""
    checking = Checking(documents, tools, flaws)
    checking.intents(executors.declared if executors.complete else None)
    checking.rows()
    checking.fleets()
    checking.rules()
    prompts = read_prompts(folder)
    checking.llms(prompts, "prompts" not in folder.unread)
    heard.update(listened_to(documents))
    file_of = {name: found.file for name, found in documents.rules.by_name.items()}
    for name, found in documents.llms.by_name.items():
        _note_name(name, found.file, file_of, flaws)
    items = prompt_items(documents, prompts, flaws)
    for source in folder.in_folder("agents", ".py"):
        item = ControlItem(kind="agent", name=source.stem, body=source.text)
        agent = checking.agent(source.path, item)
        if agent is None:
            continue
        _note_name(agent.name, source.path, file_of, flaws)
        heard.update(agent.listens_to)
        items.append(item)
    checking.circles()
    return items


def _note_name(name: str, file: str, file_of: dict[str, str], flaws: Flaws) -> None:
    if name in file_of:
        flaws.add(file, None, f"an agent {name} is declared in {file_of[name]} already", "Rename one of them.")
    file_of[name] = file


def _items(documents: Documents) -> Iterable[ControlItem]:
    declared: tuple[Declarations[Any], ...] = (documents.intents, documents.rows, documents.fleets, documents.rules)
    for declarations in (*declared, documents.llms, documents.executors, documents.triggers):
        yield from (found.item for found in declarations.by_name.values())
    yield from documents.tables.items


def _definitions(declarations: Declarations[Struct]) -> tuple[Mapping[str, Any], ...]:
    return tuple(definition_of(found) for found in declarations.by_name.values())


def _implied(documents: Documents, executors: ExecutorsFound, tools: CheckTools) -> Iterable[Mapping[str, Any]]:
    """The executors that intents name without a declaration, because they need none."""
    named = {intent.executor for _, intent in documents.intents.sound()} - set(executors.declared)
    return ({"name": kind, "kind": kind, "file": ""} for kind in undeclared_executors(tools) if kind in named)
