"""REST as a process serves it. Loaded only where it is: it takes longer to load than anything else."""

from collections.abc import Callable, Mapping, Sequence

from prometheus_client import CollectorRegistry

from control_plane.api.app import create_app
from control_plane.api.door import Door
from control_plane.api.keys import api_key_for, is_loopback
from control_plane.api.ports import ApiPorts, GoOn
from control_plane.api.serving import RestServer
from control_plane.bootstrap.control_desk import ControlDesk
from control_plane.bootstrap.elsewhere import Append
from control_plane.bootstrap.mapping_again import mapping_again
from control_plane.executors import Dispatch
from control_plane.ports.audit import Audit
from control_plane.ports.bundles import Bundles
from control_plane.ports.webhooks import Webhook
from control_plane.settings import Settings
from control_plane.workspace.reading import Workspace


def rest_server(
    door: Door,
    *,
    settings: Settings,
    workspace: Workspace,
    desk: ControlDesk,
    audit: Audit,
    append: Append,
    go_on: GoOn,
    health: Callable[[], Sequence[str]],
    owned: Callable[[], Mapping[int, str]],
    dispatch: Dispatch | None,
    bundles: Bundles | None,
    metrics: CollectorRegistry,
    webhooks: Mapping[str, Webhook],
) -> RestServer:
    """A server behind a door, not yet started."""
    app = create_app(
        ApiPorts(
            append=append,
            audit=audit,
            controls=desk.in_force,
            health=health,
            metrics=metrics,
            key=api_key_for(settings),
            on_loopback=is_loopback(settings.listen_host),
            webhooks=webhooks,
            desk=desk,
            go_on=go_on,
            owned=owned,
            partitions=settings.partitions,
            has_begun=dispatch.has_begun if dispatch is not None else lambda _command: None,
            settings=workspace.settings_file.flat(),
            bundles=bundles,
            map_again=mapping_again(lambda: desk.log.control_set(desk.wanted)),
        )
    )
    return RestServer(app, door)
