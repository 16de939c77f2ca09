"""Commands about the OPAs that rule for a service: how one is started, and which policies each of them runs."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from control_plane.cli.exits import BAD_USAGE, FOUND_WRONG, CommandError, group_of
from control_plane.cli.output import AsFormat, AsJson, Format, format_of, printable, put, put_columns, put_json
from control_plane.cli.places import HERE, Url, WorkspaceOption, service_url, settings_of

START = "opa run --server --addr 127.0.0.1:8181 --config-file"


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    group = group_of("The OPAs that rule for a service.")
    group.command("config")(config)
    group.command("list")(listed)
    app.add_typer(group, name="opa")


def config(
    workspace: WorkspaceOption = HERE,
    url: Url = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write it there, for nobody else to read.", show_default="stdout"),
    ] = None,
    persist: Annotated[
        str | None, typer.Option(help="A folder where OPA keeps its last bundle, to start while the service is away.")
    ] = None,
) -> None:
    """The configuration that an OPA is started with: it pulls signed bundles, and tells the service what it runs.

    It holds the secret that the bundles are signed with. Made with the first call or start on loopback.

    Next: opa run --server --addr 127.0.0.1:8181 --config-file opa.yaml
    """
    from control_plane.adapters.opa.config import opa_config
    from control_plane.adapters.opa.signing import BundleKey
    from control_plane.api.keys import bundle_secret_for

    settings = settings_of(workspace)
    key = BundleKey(bundle_secret_for(settings))
    text = f"# {START} {output or 'opa.yaml'}\n{opa_config(service_url(url, settings), key, persist_in=persist)}"
    if output is None:
        put(text.rstrip())
        return
    try:
        with os.fdopen(os.open(output, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(text)
    except OSError as exc:
        raise CommandError(f"{output} cannot be written: {exc.strerror}. Nothing was done.", BAD_USAGE) from exc
    put(f"{output} is written. Start OPA with: {START} {output}")


def listed(
    url: Url = None,
    workspace: WorkspaceOption = HERE,
    as_json: AsJson = False,
    output: AsFormat = Format.COLUMNS,
) -> None:
    """Every OPA that told the service of itself, with the policies that it holds.

    With -o wide also why it did not take the last bundle. Exit code 1 when one of them does not hold what the service
    offers.

    Next: setpoint doctor
    """
    from control_plane.cli.client import service

    with service(url, workspace) as client:
        found = client.get("/v1/opa")
    chosen = format_of(as_json, output)
    if chosen is Format.JSON:
        put_json(found)
    else:
        _put_opas(found["opas"], wide=chosen is Format.WIDE)
    if not all(one["current"] for one in found["opas"]):
        raise typer.Exit(FOUND_WRONG)


def _put_opas(opas: Sequence[Mapping[str, Any]], *, wide: bool) -> None:
    head = ("OPA", "VERSION", "HOLDS", "CURRENT", "TOLD AT", *(("PROBLEM",) if wide else ()))
    rows = [
        (
            one["id"],
            one["version"],
            one["bundle"] or "none",
            "yes" if one["current"] else "no",
            one["told_at"],
            *((one["problem"],) if wide else ()),
        )
        for one in opas
    ]
    put_columns(head, rows, wide=wide)
    for one in opas:
        if one["problem"] and not wide:
            put(printable(f"{one['id']}: {one['problem']}"))
