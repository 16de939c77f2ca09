"""The command doctor: is everything there that a service needs? Looks, and changes nothing."""

import typer

from control_plane.cli.exits import FOUND_WRONG
from control_plane.cli.output import AsJson, paint, put, put_json
from control_plane.cli.places import HERE, WorkspaceArgument


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor")(doctor)


def doctor(workspace: WorkspaceArgument = HERE, as_json: AsJson = False) -> None:
    """Look for what would keep a service from working.

    Each finding comes with its cure; exit code 1 on any problem.
    """
    from control_plane.cli.examination import examine

    findings = examine(workspace)
    if as_json:
        put_json(
            {"ok": not any(found.state == "problem" for found in findings), "findings": [f.plain() for f in findings]}
        )
    else:
        for found in findings:
            put(f"{paint(found.state, found.state.ljust(7))}  {found.subject}: {found.detail}")
            if found.cure:
                put(f"         {found.cure}")
    if any(found.state == "problem" for found in findings):
        raise typer.Exit(FOUND_WRONG)
