"""How the world comes in: what a trigger's definition becomes in a process, something that runs or a webhook of its
REST."""

import logging
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from control_plane.adapters.cel import CelExpressions
from control_plane.bootstrap.elsewhere import Append
from control_plane.catalogue import Controls
from control_plane.loop.intake import admit
from control_plane.ports.clock import Clock
from control_plane.ports.positions import Positions
from control_plane.ports.webhooks import Webhook
from control_plane.triggers import Trigger, TriggerTools, build_triggers, build_webhooks, webhook_names
from control_plane.workspace.ends import Definition

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Front:
    """What the declared triggers are built of. Positions are asked for only for a trigger that is there."""

    root: Path
    append: Append
    clock: Clock
    controls: Callable[[], Controls]
    positions: Callable[[], Awaitable[Positions]]
    count: Callable[[str, str, int], None]

    async def build(self, definition: Definition, roles: Collection[str]) -> tuple[Trigger | None, Webhook | None]:
        """What a definition stands for in a process with these roles. Raises InvalidWorkspace."""
        if not webhook_names([definition]):
            found = build_triggers([definition], await self._tools()) if "triggers" in roles else [None]
            return found[0], None
        if "api" in roles:
            return None, build_webhooks([definition], await self._tools())[definition["name"]]
        if "triggers" in roles:
            _log.warning(
                "a webhook is not served: this process has the role triggers and not the role api",
                extra={"webhook": definition["name"]},
            )
        return None, None

    async def _tools(self) -> TriggerTools:
        return TriggerTools(
            root=self.root.resolve(),
            expressions=CelExpressions(),
            append=self.append,
            admit=lambda raw: admit(raw, self.clock.now_ms(), self.controls()),
            positions=await self.positions(),
            clock=self.clock,
            count=self.count,
        )
