"""Commands that list and show the schemas of events."""

from typing import Annotated

import typer

from control_plane.cli.exits import group_of
from control_plane.cli.output import AsFormat, AsJson, Format, format_of, put, put_columns, put_json
from control_plane.cli.places import HERE, Url, WorkspaceOption


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    schemas = group_of("Schemas of events: which are in force, and which were.")
    schemas.command("list")(schemas_list)
    schemas.command("show")(schemas_show)
    app.add_typer(schemas, name="schemas")


def schemas_list(
    type: Annotated[str | None, typer.Option(help="Every version of this event type.")] = None,
    url: Url = None,
    workspace: WorkspaceOption = HERE,
    as_json: AsJson = False,
    output: AsFormat = Format.COLUMNS,
) -> None:
    """Schemas that are in force: of the workspace's event types, and of Setpoint's own messages.

    Next: setpoint schemas show TYPE
    """
    from control_plane.cli.client import service

    with service(url, workspace) as client:
        items = client.get("/v1/schemas" if type is None else f"/v1/schemas/{type}/versions")["items"]
    chosen = format_of(as_json, output)
    if chosen is Format.JSON:
        put_json(items)
        return
    head = ("TYPE", "VERSION", "OF", "IN FORCE", "DECLARED BY", "REVISION")
    rows = [
        (
            item["type"],
            item["version"],
            item["versions"],
            "yes" if item["in_force"] else "no",
            item["of"],
            item["revision"],
        )
        for item in items
    ]
    put_columns(head, rows, wide=chosen is Format.WIDE)
    if not items:
        put("none is declared")


def schemas_show(
    type: Annotated[str, typer.Argument(metavar="TYPE", help="An event type.")],
    version: Annotated[int | None, typer.Option(min=1, help="An older one; they are counted from 1.")] = None,
    url: Url = None,
    workspace: WorkspaceOption = HERE,
    as_json: AsJson = False,
) -> None:
    """The JSON Schema that events of a type are judged by; with --json, what is known of it as well."""
    from control_plane.cli.client import service

    with service(url, workspace) as client:
        found = client.get(f"/v1/schemas/{type}", version=version)
    put_json(found if as_json else found["schema"])
