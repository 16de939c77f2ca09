"""How the world comes in: the triggers of a process, and the webhooks that its REST serves."""

import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from control_plane.adapters.cel import CelExpressions
from control_plane.catalogue import Controls
from control_plane.loop.intake import admit
from control_plane.ports.backbone import Backbone
from control_plane.ports.clock import Clock
from control_plane.ports.positions import Positions
from control_plane.ports.webhooks import Webhook
from control_plane.triggers import Trigger, TriggerTools, build_triggers, build_webhooks, webhook_names
from control_plane.workspace.reading import Workspace

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Front:
    """What the declared triggers are built of. Positions are asked for only for a trigger that is there."""

    workspace: Workspace
    backbone: Backbone
    clock: Clock
    controls: Callable[[], Controls]
    positions: Callable[[], Awaitable[Positions]]

    async def triggers(self, roles: Collection[str]) -> Sequence[Trigger]:
        """What this process runs. Raises InvalidWorkspace."""
        if "triggers" not in roles or not self._declared:
            return ()
        unserved = webhook_names(self._declared)
        if unserved and "api" not in roles:
            _log.warning(
                "webhooks are not served: this process has the role triggers and not the role api",
                extra={"webhooks": ", ".join(unserved)},
            )
        return build_triggers(self._declared, await self._tools())

    async def webhooks(self) -> Mapping[str, Webhook]:
        """What REST serves, in every process that has it. Raises InvalidWorkspace."""
        return build_webhooks(self._declared, await self._tools()) if webhook_names(self._declared) else {}

    @property
    def _declared(self) -> Sequence[Mapping[str, Any]]:
        return self.workspace.triggers

    async def _tools(self) -> TriggerTools:
        return TriggerTools(
            root=self.workspace.root.resolve(),
            expressions=CelExpressions(),
            append=self.backbone.append,
            admit=lambda raw: admit(raw, self.clock.now_ms(), self.controls()),
            positions=await self.positions(),
            clock=self.clock,
        )
