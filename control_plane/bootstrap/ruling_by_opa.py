"""An OPA that rules for this process, and what every OPA of the service may pull from it."""

import asyncio
from collections.abc import Collection

from control_plane.adapters.opa.address import OpaAddress
from control_plane.adapters.opa.engine import OpaEngine
from control_plane.adapters.opa.relocation import RelocatedSet, relocated
from control_plane.adapters.opa.shelf import HELD_SETS_MAX, BundleShelf
from control_plane.adapters.opa.signing import BundleKey
from control_plane.adapters.telemetry import Telemetry
from control_plane.api.keys import bundle_secret_for
from control_plane.api.ports import wall_clock_ms
from control_plane.catalogue.controls import Policies
from control_plane.errors import ContinuityBroken, InvalidWorkspace
from control_plane.ports.policy_engine import PolicyEngine, PolicySet
from control_plane.settings import Settings
from control_plane.workspace.control_log import ControlLog


class OpaRuling:
    """An OPA beside this process. Where it has the role api, every OPA of the service pulls from it."""

    def __init__(self, settings: Settings, roles: Collection[str]) -> None:
        """Raises InvalidSettings."""
        self.bundles = BundleShelf(BundleKey(bundle_secret_for(settings))) if "api" in roles else None
        refused = self.bundles.statuses.why_refused if self.bundles is not None else lambda _revision: ""
        self.opa = OpaEngine(OpaAddress.of(settings.policy_engine), refused=refused)

    def watched_by(self, telemetry: Telemetry) -> None:
        """Show what OPA does for this process and, where they pull from it, what all OPAs run."""
        telemetry.watch_opa(self.opa.counts)
        if self.bundles is not None:
            telemetry.watch_bundles(self.bundles, wall_clock_ms)

    @property
    def engine(self) -> PolicyEngine:
        """Who is asked."""
        return self.opa

    def begin(self, log: ControlLog, policies: PolicySet) -> None:
        """Offer what is in force, and what was before it: partitions may still follow that. Waits for nobody: an OPA
        pulls from this very process, which only begins."""
        newest = relocated(policies)
        self.opa.know(newest)
        if self.bundles is not None:
            self.bundles.offer([newest, *_older(log, newest.revision)])

    async def change(self, policies: PolicySet) -> None:
        """Offer what is to be in force next, and wait until OPA rules under it, so that there is no moment without.

        Raises InvalidWorkspace when OPA refuses it and PolicyEngineUnavailable when OPA cannot be asked; then what was
        offered before is offered again.
        """
        newest = await asyncio.to_thread(_relocated, policies)
        if isinstance(newest, InvalidWorkspace):
            raise newest
        before = self.bundles.sets if self.bundles is not None else ()
        if self.bundles is not None:
            self.bundles.hold(newest)
        try:
            await self.opa.confirm(newest)
        except BaseException:
            if self.bundles is not None:
                self.bundles.offer(before)
            raise
        self.opa.know(newest)

    def problem(self) -> str:
        """Why there are no rulings at present."""
        return self.opa.problem

    async def close(self) -> None:
        """Let go of OPA, and of the OPAs that wait here."""
        if self.bundles is not None:
            self.bundles.close()
        await self.opa.close()


def _relocated(policies: PolicySet) -> RelocatedSet | InvalidWorkspace:
    """What is wrong is given and not raised: it comes from a thread, and a traceback would carry its objects along."""
    try:
        return relocated(policies)
    except InvalidWorkspace as exc:
        return InvalidWorkspace(exc.flaws)


def _older(log: ControlLog, newest: str) -> list[RelocatedSet]:
    """The policies of former controls, the newest first; those that the log no longer holds whole are left out."""
    found: dict[str, RelocatedSet] = {}
    for revision in reversed(log.revisions):
        if len(found) >= HELD_SETS_MAX - 1:
            break
        try:
            policies = Policies.of(log.control_set(revision))
            if policies.revision not in (newest, *found):
                found[policies.revision] = relocated(policies)
        except (ContinuityBroken, InvalidWorkspace):
            continue
    return list(found.values())
