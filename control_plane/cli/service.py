"""Commands that are a service: up and worker. They run until SIGINT or SIGTERM."""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from control_plane.cli.logs import begin_logging
from control_plane.cli.places import HERE, WorkspaceArgument, settings_of
from control_plane.settings import SETTINGS, Setting

Overrides = Mapping[str, Any]
"""Settings that were given on the command line; None where one was not."""

LogLevel = Annotated[str, typer.Option(help="debug, info, warning or error; what is logged goes to stderr.")]
Json = Annotated[bool, typer.Option("--json", help="Say what was started as one line of JSON.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("up")(_with_settings(up))
    app.command("worker")(_with_settings(worker))


def up(
    overrides: Overrides,
    workspace: WorkspaceArgument = HERE,
    log_level: LogLevel = "info",
    as_json: Json = False,
) -> None:
    """Run a workspace, all of it in one process.

    Ends with SIGINT or SIGTERM; started again, it goes on where it was.

    Next, elsewhere: setpoint events tail
    """
    _run(workspace, overrides, None, log_level, as_json)


def worker(
    role: Annotated[
        list[str], typer.Option(help="loop, agents, executors, recorder, triggers or api; may be given again.")
    ],
    overrides: Overrides,
    workspace: WorkspaceArgument = HERE,
    log_level: LogLevel = "info",
    as_json: Json = False,
) -> None:
    """Run some roles of a workspace.

    Ends with SIGINT or SIGTERM. Roles in processes of their own share a log: give --backbone kafka://...
    """
    _run(workspace, overrides, role, log_level, as_json)


def _with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """The command with an option for each setting, in the place of its `overrides`."""
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        parameters += [_option(setting) for setting in SETTINGS] if parameter.name == "overrides" else [parameter]

    @functools.wraps(command)
    def run(**given: Any) -> None:
        overrides = {setting.name: given.pop(_keyword(setting)) for setting in SETTINGS}
        command(overrides=overrides, **given)

    keyword_only = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
    run.__signature__ = inspect.Signature(keyword_only)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _option(setting: Setting) -> inspect.Parameter:
    kind = type(setting.default) if isinstance(setting.default, bool | int) else str
    names = f"{setting.option}/--no-{setting.option.removeprefix('--')}" if kind is bool else setting.option
    annotation = Annotated[kind | None, typer.Option(names, help=setting.help)]  # type: ignore[valid-type]
    return inspect.Parameter(_keyword(setting), inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _keyword(setting: Setting) -> str:
    return setting.name.replace(".", "_")


def _run(workspace: Path, overrides: Overrides, roles: Sequence[str] | None, log_level: str, as_json: bool) -> None:
    # Wrong settings are told before the service is imported, which takes seconds.
    begin_logging(log_level)
    settings = settings_of(workspace, overrides)
    from control_plane.cli.running import run_service

    run_service(workspace, settings, roles, as_json=as_json)
