"""Who acts: the declared executors, built; those that a user wrote in Python each in a thread of its own."""

import functools
from collections.abc import Mapping
from typing import Any

from control_plane.adapters.cel import CelExpressions
from control_plane.errors import Flaw, InvalidWorkspace
from control_plane.executors import ExecutorTools, build_executor, wrong_in
from control_plane.executors.apart import Apart
from control_plane.ports.executor import Executor
from control_plane.workspace.python_executors import KIND as PYTHON
from control_plane.workspace.python_executors import load_executor
from control_plane.workspace.reading import Workspace


def build_executors(workspace: Workspace) -> Mapping[str, Executor]:
    """By name. Raises InvalidWorkspace with all that is missing here, such as secrets; the rest was checked before."""
    tools = ExecutorTools(root=workspace.root.resolve(), expressions=CelExpressions())
    flaws = [flaw for found in workspace.executors if found["kind"] != PYTHON for flaw in _flaws(found, tools)]
    if flaws:
        raise InvalidWorkspace(flaws)
    return {found["name"]: _built(found, tools) for found in workspace.executors}


def _flaws(definition: Mapping[str, Any], tools: ExecutorTools) -> list[Flaw]:
    return [
        Flaw(
            file=definition["file"],
            line=0,
            column=0,
            problem=f"executor {definition['name']}: {wrong.field}: {wrong.problem}",
            cure=wrong.cure,
        )
        for wrong in wrong_in(definition, tools)
    ]


def _built(definition: Mapping[str, Any], tools: ExecutorTools) -> Executor:
    if definition["kind"] != PYTHON:
        return build_executor(definition, tools)
    # Not loaded before it is needed, and loaded once: a second instance is of the same class.
    load = functools.cache(lambda: load_executor(definition["file"], definition["source"]))
    return Apart(lambda: load()())
