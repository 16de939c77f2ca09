"""Who rules on decisions in this process."""

from collections.abc import Collection
from typing import TYPE_CHECKING, Final

from control_plane.adapters.regorus import RegorusEngine
from control_plane.adapters.telemetry import Telemetry
from control_plane.ports.policy_engine import PolicyEngine, PolicySet
from control_plane.settings import Settings
from control_plane.workspace.control_log import ControlLog

if TYPE_CHECKING:
    from control_plane.bootstrap.ruling_by_opa import OpaRuling

EMBEDDED: Final = "embedded"


class EmbeddedRuling:
    """The engine in this process; nobody pulls anything."""

    bundles = None

    def __init__(self) -> None:
        self._engine = RegorusEngine()

    def watched_by(self, _telemetry: Telemetry) -> None:
        """It has no numbers of its own."""

    @property
    def engine(self) -> PolicyEngine:
        """Who is asked."""
        return self._engine

    def begin(self, _log: ControlLog, policies: PolicySet) -> None:
        """Make ready what is in force at the start. Raises InvalidWorkspace."""
        self._engine.load(policies)

    async def change(self, policies: PolicySet) -> None:
        """Make ready what is to be in force next. Raises InvalidWorkspace."""
        self._engine.load(policies)

    def problem(self) -> str:
        """Why there are no rulings at present."""
        return ""

    async def close(self) -> None:
        """Nothing is open."""


def ruling_for(settings: Settings, roles: Collection[str]) -> "EmbeddedRuling | OpaRuling":
    """As the settings say. Raises InvalidSettings."""
    if settings.policy_engine == EMBEDDED:
        return EmbeddedRuling()
    # A process without OPA does not pay for loading its client.
    from control_plane.bootstrap.ruling_by_opa import OpaRuling

    return OpaRuling(settings, roles)
