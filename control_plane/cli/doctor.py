"""The command doctor: is everything there that a service needs? Looks, and changes nothing."""

import typer

from control_plane.cli.exits import CANNOT_REACH, FOUND_WRONG
from control_plane.cli.output import AsJson, paint, put, put_json
from control_plane.cli.places import HERE, WorkspaceArgument


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor")(doctor)


def doctor(workspace: WorkspaceArgument = HERE, as_json: AsJson = False) -> None:
    """Look for what would keep a service from working.

    Each finding comes with its cure; exit code 3 when a part that the settings name does not answer, 1 on any other
    problem.
    """
    from control_plane.cli.examination import examine

    findings = examine(workspace)
    states = {found.state for found in findings}
    if as_json:
        put_json({"ok": states <= {"ok", "note"}, "findings": [found.plain() for found in findings]})
    else:
        for found in findings:
            put(f"{paint(found.state, found.state.ljust(7))}  {found.subject}: {found.detail}")
            if found.cure:
                put(f"         {found.cure}")
    if "away" in states:
        raise typer.Exit(CANNOT_REACH)
    if "problem" in states:
        raise typer.Exit(FOUND_WRONG)
