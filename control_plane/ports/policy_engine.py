"""Who rules on decisions. Fails closed: whatever is not a clear answer is a deny."""

from typing import Protocol

from control_plane.messages import Question, Ruling

RULING_TIMEOUT_MS = 50


class PolicyEngine(Protocol):
    """Rules on questions under one set of policies.

    An adapter denies, with `problem` set, whenever the engine is undefined, in error, in conflict, too slow or away; it
    never raises because of a policy or an input. `rule` is called concurrently only where `concurrent` is true.
    """

    concurrent: bool

    async def rule(self, question: Question, policies: "PolicySet") -> Ruling:
        """The ruling on one question under these policies, named by their revision."""


class PolicySet(Protocol):
    """The policies in force at one record: Rego modules by name, data, and the revision that names them all."""

    @property
    def revision(self) -> str: ...

    @property
    def modules(self) -> "tuple[tuple[str, str], ...]":
        """(name, Rego text), sorted by name."""

    @property
    def data(self) -> "tuple[tuple[str, str], ...]":
        """(name, JSON text), sorted by name: each becomes `data.<name>`."""
