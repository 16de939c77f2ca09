"""Commands that are a service: up and worker. They run until SIGINT or SIGTERM."""

from typing import Annotated

import typer

from control_plane.cli.places import HERE, WorkspaceArgument
from control_plane.settings import SETTINGS

_HELP = {setting.name: setting.help for setting in SETTINGS}
Backbone = Annotated[str | None, typer.Option(help=_HELP["backbone"])]
Store = Annotated[str | None, typer.Option(help=_HELP["store"])]
PolicyEngine = Annotated[str | None, typer.Option(help=_HELP["policy_engine"])]
Listen = Annotated[str | None, typer.Option(help=_HELP["listen"])]
Durability = Annotated[str | None, typer.Option(help=_HELP["durability"])]
Partitions = Annotated[int | None, typer.Option(help=_HELP["partitions"])]
DataDir = Annotated[str | None, typer.Option(help=_HELP["data_dir"])]
BuiltIn = Annotated[
    bool | None, typer.Option("--policies-builtin/--no-policies-builtin", help=_HELP["policies.builtin"])
]
LogLevel = Annotated[str, typer.Option(help="debug, info, warning or error; what is logged goes to stderr.")]
Json = Annotated[bool, typer.Option("--json", help="Say what was started as one line of JSON.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("up")(up)
    app.command("worker")(worker)


def up(
    workspace: WorkspaceArgument = HERE,
    backbone: Backbone = None,
    store: Store = None,
    policy_engine: PolicyEngine = None,
    listen: Listen = None,
    durability: Durability = None,
    partitions: Partitions = None,
    data_dir: DataDir = None,
    policies_builtin: BuiltIn = None,
    log_level: LogLevel = "info",
    as_json: Json = False,
) -> None:
    """Run a workspace, all of it in one process.

    Ends with SIGINT or SIGTERM; started again, it goes on where it was.

    Next, elsewhere: setpoint events tail
    """
    from control_plane.cli.running import run_service

    overrides = {
        "backbone": backbone,
        "store": store,
        "policy_engine": policy_engine,
        "listen": listen,
        "durability": durability,
        "partitions": partitions,
        "data_dir": data_dir,
        "policies.builtin": policies_builtin,
    }
    run_service(workspace, overrides, None, log_level=log_level, as_json=as_json)


def worker(
    role: Annotated[list[str], typer.Option(help="loop, agents, executors, recorder or api; may be given again.")],
    workspace: WorkspaceArgument = HERE,
    backbone: Backbone = None,
    store: Store = None,
    policy_engine: PolicyEngine = None,
    listen: Listen = None,
    durability: Durability = None,
    partitions: Partitions = None,
    data_dir: DataDir = None,
    policies_builtin: BuiltIn = None,
    log_level: LogLevel = "info",
    as_json: Json = False,
) -> None:
    """Run some roles of a workspace.

    Ends with SIGINT or SIGTERM. Roles in processes of their own share a log: give --backbone kafka://...
    """
    from control_plane.cli.running import run_service

    overrides = {
        "backbone": backbone,
        "store": store,
        "policy_engine": policy_engine,
        "listen": listen,
        "durability": durability,
        "partitions": partitions,
        "data_dir": data_dir,
        "policies.builtin": policies_builtin,
    }
    run_service(workspace, overrides, role, log_level=log_level, as_json=as_json)
