"""What checking a workspace needs of the rooms above it; `control_plane.bootstrap` fills it in."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from control_plane.errors import Flaw
from control_plane.workspace.compiling import Tools
from control_plane.workspace.examined import Examined

Modules = Mapping[str, str]
"""Rego by the file that it stands in, as people are told: it is what `Flaw.file` of a policy says."""

Data = Mapping[str, str]
"""JSON by the name under `data`."""


def _nothing_known(_definition: Mapping[str, Any]) -> Examined:
    return Examined()


class PolicyTests(Struct, frozen=True, kw_only=True):
    """What testing came to: tests that failed stop a start, rules that no test covers are warned about."""

    failed: tuple[Flaw, ...] = ()
    uncovered: tuple[Flaw, ...] = ()


class PermitRule(Struct, frozen=True, kw_only=True):
    """Where a permit allows something, and the intents that it names; None for one that may allow any."""

    file: str
    line: int
    column: int
    intents: frozenset[str] | None


def _open_to_all(_modules: Modules) -> Sequence[PermitRule]:
    return (PermitRule(file="", line=0, column=0, intents=None),)


class CheckTools(Struct, frozen=True, kw_only=True):
    """The judges of what only an adapter, an executor or a trigger knows.

    `executors` and `triggers` give the shape of each kind's own keys, without `executor:` or `trigger:` and `kind:`.
    `test_policies` is given modules in which `check_policies` found no flaw, their tests, and data; it raises
    InvalidWorkspace when the tests themselves do not compile. `examine_executor` and `examine_trigger` are given keys
    with `kind`, `name` and `file`, once their shape is right.
    """

    compiling: Tools
    executors: Mapping[str, type[Struct]]
    triggers: Mapping[str, type[Struct]]
    check_policies: Callable[[Modules], Sequence[Flaw]]
    test_policies: Callable[[Modules, Modules, Data], PolicyTests]
    examine_executor: Callable[[Mapping[str, Any]], Examined] = _nothing_known
    examine_trigger: Callable[[Mapping[str, Any]], Examined] = _nothing_known
    permit_rules: Callable[[Modules], Sequence[PermitRule]] = _open_to_all
