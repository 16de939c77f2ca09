"""Everything under `executors/`, beyond the shape of its YAML: what only a kind can judge, and what is in Python.

Kinds are judged by whoever knows them (`CheckTools.examine_executor`); here their words get a line and a column.
"""

from collections.abc import Collection
from dataclasses import dataclass

from control_plane.workspace.declarations import Documents
from control_plane.workspace.files import Folder
from control_plane.workspace.flaws import Flaws
from control_plane.workspace.python_executors import PythonExecutor, read_python_executors
from control_plane.workspace.tools import CheckTools
from control_plane.workspace.trigger_checks import definition_of
from control_plane.workspace.yaml_tree import Node


@dataclass(frozen=True, slots=True)
class ExecutorsFound:
    """What an intent may name. `complete` is false when something that could declare one could not be read."""

    declared: Collection[str]
    python: tuple[PythonExecutor, ...]
    complete: bool


def check_executors(documents: Documents, folder: Folder, tools: CheckTools, flaws: Flaws) -> ExecutorsFound:
    """Check every executor whose shape is right, and load those in Python.

    What is amiss only in this process's environment is a warning: whoever starts the executor checks it again.
    """
    for found, _ in documents.executors.sound():
        for problem in tools.examine_executor(definition_of(found)).problems:
            tell = flaws.warn if problem.of_environment else flaws.add
            tell(found.file, _nearest(found.node, problem.path), problem.problem, problem.cure)
    before = len(flaws)
    python = read_python_executors(folder, documents, flaws)
    names = {*documents.executors.by_name, *(found.name for found in python)}
    return ExecutorsFound(names, tuple(python), documents.executors.complete and len(flaws) == before)


def warn_of_blindness(documents: Documents, flaws: Flaws) -> None:
    """Warn of acts that nobody can look for afterwards: where an answer is lost, their outcome stays unknown."""
    for found, intent in documents.intents.sound():
        executor = documents.executors.by_name.get(intent.executor)
        if intent.idempotent or executor is None or executor.definition is None:
            continue
        if getattr(executor.definition, "reconcile", ...) is None:
            problem = f"where an answer is lost, nobody can find out whether {found.name} was done: {intent.executor} "
            problem += "has no reconcile"
            cure = f"Add reconcile to {executor.file}, or idempotent: true where doing it twice is doing it once."
            flaws.warn(found.file, found.node.get("executor"), problem, cure)


def _nearest(node: Node, path: tuple[str, ...]) -> Node:
    """The node under a path of keys and numbers in lists, or the nearest one above it that is there."""
    for step in path:
        if isinstance(node.value, list) and step.isdigit() and int(step) < len(node.value):
            node = node.value[int(step)]
        elif isinstance(node.value, dict) and step in node.value:
            node = node.value[step].value
        else:
            break
    return node
