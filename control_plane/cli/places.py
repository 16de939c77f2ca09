"""Where things are: the workspace that a command is about, its settings, its service and its key."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from control_plane.cli.exits import BAD_USAGE, CommandError
from control_plane.settings import API_KEY_VARIABLE, FILE, URL_VARIABLE, Settings

WorkspaceArgument = Annotated[
    Path, typer.Argument(metavar="[WORKSPACE]", help="Folder with setpoint.yaml.", show_default="this folder")
]
WorkspaceOption = Annotated[
    Path, typer.Option("--workspace", "-w", help="Folder with setpoint.yaml.", show_default="this folder")
]
Url = Annotated[
    str | None,
    typer.Option("--url", help=f"Where the service is. Otherwise {URL_VARIABLE}, or what the workspace listens on."),
]
HERE = Path()
LETTERS = "/v1/dead-letters"
"""Where a service keeps what could not be processed."""


def settings_of(workspace: Path, overrides: Mapping[str, Any] | None = None) -> Settings:
    """The settings of a workspace, of the environment and of the command line; without a workspace, without its file.

    Raises InvalidWorkspace and InvalidSettings.
    """
    if not workspace.is_dir():
        raise CommandError(f"{workspace} is no folder. Nothing was done. Name the workspace's.", BAD_USAGE)
    mapping: Mapping[str, Any] = {}
    if (workspace / FILE).exists():
        from control_plane.workspace.settings_file import read_settings

        mapping = read_settings(workspace).mapping
    return Settings.load(workspace, mapping, os.environ, overrides)


def service_at(url: str | None, workspace: Path) -> tuple[str, str]:
    """Where the service is, and its key. Raises CommandError when either cannot be told."""
    given = url or os.environ.get(URL_VARIABLE)
    key = os.environ.get(API_KEY_VARIABLE)
    if given and key:
        return _checked(given), key
    settings = settings_of(workspace)
    return _checked(given or _listening(settings)), key or _kept_key(settings)


def service_url(url: str | None, settings: Settings) -> str:
    """Where the service is. Raises CommandError when it cannot be told."""
    return _checked(url or os.environ.get(URL_VARIABLE) or _listening(settings))


def _listening(settings: Settings) -> str:
    if settings.listen_port == 0:
        raise CommandError(
            "the workspace listens on a free port, which only the service knows. Nothing was sent. Give --url, as "
            "`setpoint up` printed it.",
            BAD_USAGE,
        )
    anywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}
    host = anywhere.get(settings.listen_host, settings.listen_host)
    return f"http://[{host}]:{settings.listen_port}" if ":" in host else f"http://{host}:{settings.listen_port}"


def _kept_key(settings: Settings) -> str:
    from control_plane.api.keys import read_key

    key = read_key(settings.api_key_file)
    if key is None:
        raise CommandError(
            f"there is no key: {API_KEY_VARIABLE} is not set and {settings.api_key_file} does not exist. Nothing was "
            "sent. Start the service with `setpoint up`, name its workspace with -w, or set the variable.",
            BAD_USAGE,
        )
    return key


def _checked(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise CommandError(f"{url!r} is no URL of a service. Nothing was sent. Write http://HOST:PORT.", BAD_USAGE)
    return url.rstrip("/")
