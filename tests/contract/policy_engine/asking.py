"""Policy sets for tests, and what a test asks an engine with."""

from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256

from control_plane.messages import Ruling

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


Asking = Callable[..., Ruling]
"""`ask(rego, ..., given={...}, data={...})`: the ruling of a permit for everything and the modules given."""
