"""An executor's definition in, the executor out; or before that, all that is wrong in it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from control_plane.executors.command import CommandKeys, RunCommand
from control_plane.executors.dry_run import DryRun, DryRunKeys
from control_plane.executors.http_keys import HttpKeys
from control_plane.executors.supervised_process import SupervisedProcess, SupervisedProcessKeys
from control_plane.executors.tools import DefinitionInvalid, ExecutorTools
from control_plane.sdk import Executor

_DECLARED_BESIDE = frozenset({"name", "kind", "file"})


def _http_target(name: str, keys: HttpKeys, tools: ExecutorTools) -> Executor:
    # Its client takes 0.1 s to load: only for a workspace that has such an executor.
    from control_plane.executors.http import HttpTarget

    return HttpTarget(name, keys, tools)


_KINDS: Mapping[str, tuple[type[Struct], Callable[[str, Any, ExecutorTools], Executor]]] = {
    "command": (CommandKeys, RunCommand),
    "dry_run": (DryRunKeys, DryRun),
    "http": (HttpKeys, _http_target),
    "supervised_process": (SupervisedProcessKeys, SupervisedProcess),
}


def executor_kinds() -> Mapping[str, type[Struct]]:
    """The shape of each kind's own keys."""
    return {kind: shape for kind, (shape, _) in _KINDS.items()}


def build_executor(definition: Mapping[str, Any], tools: ExecutorTools) -> Executor:
    """The executor that a workspace declares: its own keys with `name` and `kind`. Raises DefinitionInvalid."""
    kind = definition["kind"]
    if kind not in _KINDS:
        raise DefinitionInvalid("kind", f"there is no kind {kind!r}", f"Known: {', '.join(sorted(_KINDS))}.")
    shape, build = _KINDS[kind]
    keys = {key: value for key, value in definition.items() if key not in _DECLARED_BESIDE}
    try:
        shaped = msgspec.convert(keys, shape)
    except msgspec.ValidationError as wrong:
        raise DefinitionInvalid(_field_in(str(wrong)), str(wrong), "See `setpoint schema executor`.") from wrong
    return build(definition["name"], shaped, tools)


def wrong_in(definition: Mapping[str, Any], tools: ExecutorTools) -> Sequence[DefinitionInvalid]:
    """Everything that keeps a definition from being built. Nothing is opened: `Executor.start` does that."""
    try:
        build_executor(definition, tools)
    except DefinitionInvalid as first:
        return (first, *first.others)
    return ()


def _field_in(said: str) -> str:
    """The field that msgspec complains about: it stands between backquotes, at the end if there are several."""
    quoted = said.split("`")[1::2]
    return quoted[-1].removeprefix("$.") if quoted else "kind"
