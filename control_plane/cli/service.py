"""Commands that are a service: up and worker. They run until SIGINT or SIGTERM."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from control_plane.cli.logs import begin_logging
from control_plane.cli.places import HERE, WorkspaceArgument, settings_of
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
    _run(workspace, overrides, None, log_level, as_json)


def worker(
    role: Annotated[
        list[str], typer.Option(help="loop, agents, executors, recorder, triggers or api; may be given again.")
    ],
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
    _run(workspace, overrides, role, log_level, as_json)


def _run(
    workspace: Path, overrides: Mapping[str, Any], roles: Sequence[str] | None, log_level: str, as_json: bool
) -> None:
    # Wrong settings are told before the service is imported, which takes seconds.
    begin_logging(log_level)
    settings = settings_of(workspace, overrides)
    from control_plane.cli.running import run_service

    run_service(workspace, settings, roles, as_json=as_json)
