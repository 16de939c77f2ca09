"""Policy sets for tests, and what a test asks an engine with."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Protocol

from control_plane.messages import Ruling
from control_plane.ports.policy_engine import PolicyEngine

PERMIT = 'package setpoint.permits.always\n\nallow contains {"code": "always", "msg": "anything is allowed"}\n'


@dataclass(frozen=True)
class Policies:
    """A policy set for tests; its revision is made of what it holds."""

    modules: tuple[tuple[str, str], ...]
    data: tuple[tuple[str, str], ...] = ()
    revision: str = field(default="")

    def __post_init__(self) -> None:
        if not self.revision:
            digest = sha256(repr((self.modules, self.data)).encode()).hexdigest()[:12]
            object.__setattr__(self, "revision", digest)


class Engines(Protocol):
    """An engine, and what it takes to ask it."""

    engine: PolicyEngine

    def rule(self, policies: Policies, given: Mapping[str, Any]) -> Ruling:
        """The ruling on an input."""


Asking = Callable[..., Ruling]
"""`ask(rego, ..., given={...}, data={...})`: the ruling of a permit for everything and the modules given."""
