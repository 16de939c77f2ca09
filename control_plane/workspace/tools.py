"""What checking a workspace needs of the rooms above it; `control_plane.bootstrap` fills it in."""

from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from control_plane.errors import Flaw
from control_plane.workspace.compiling import Tools

Texts = Mapping[str, str]
"""Rego by module name, or JSON by the name under `data`."""


class CheckTools(Struct, frozen=True, kw_only=True):
    """The judges of what only an adapter, an executor or a trigger knows.

    `executors` and `triggers` give the shape of each kind's own keys, without `executor:` or `trigger:` and `kind:`.
    `check_policies(modules)` and `test_policies(modules, tests, data)` name a module in `Flaw.file`; an empty `data`
    is fine.
    """

    compiling: Tools
    executors: Mapping[str, type[Struct]]
    triggers: Mapping[str, type[Struct]]
    check_policies: Callable[[Texts], Sequence[Flaw]]
    test_policies: Callable[[Texts, Texts, Texts], Sequence[Flaw]]
