"""Commands that list and show decisions and commands."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from control_plane.cli.exits import group_of
from control_plane.cli.output import AsFormat, AsJson, Format, format_of, put, put_columns, put_fields, put_json
from control_plane.cli.people import cancel
from control_plane.cli.places import HERE, Url, WorkspaceOption

Subject = Annotated[str | None, typer.Option(help="Only this subject, kind/name.")]
Limit = Annotated[int, typer.Option(min=1, max=10_000, help="At most so many, the newest.")]
_Row = Callable[[Mapping[str, Any]], Sequence[Any]]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    decisions = group_of("What agents proposed, and what policy said.")
    decisions.command("list")(decisions_list)
    decisions.command("show")(decisions_show)
    app.add_typer(decisions, name="decisions")
    commands = group_of("What was allowed to be done, and what came of it.")
    commands.command("list")(commands_list)
    commands.command("show")(commands_show)
    commands.command("cancel")(cancel)
    app.add_typer(commands, name="commands")


def decisions_list(
    subject: Subject = None,
    limit: Limit = 50,
    url: Url = None,
    workspace: WorkspaceOption = HERE,
    as_json: AsJson = False,
    output: AsFormat = Format.COLUMNS,
) -> None:
    """Decisions, the newest first, each with its verdict.

    Next: setpoint decisions show ID
    """
    narrow = ("ID", "TIME", "AGENT", "INTENT", "SUBJECT", "VERDICT", "STAGE", "REASON")
    wide = ("BECAUSE", "CONFIDENCE", "CONTROLS", "FLOW")
    items = _items("/v1/decisions", subject, limit, url, workspace)
    _put_list(items, format_of(as_json, output), (narrow, _decision), (wide, _decision_wide))


def decisions_show(
    id: Annotated[str, typer.Argument(metavar="ID")],
    url: Url = None,
    workspace: WorkspaceOption = HERE,
    as_json: AsJson = False,
) -> None:
    """A decision with its verdict, and its command, outcome and effect where there are any."""
    _show(f"/v1/decisions/{id}", url, workspace, as_json)


def commands_list(
    subject: Subject = None,
    limit: Limit = 50,
    url: Url = None,
    workspace: WorkspaceOption = HERE,
    as_json: AsJson = False,
    output: AsFormat = Format.COLUMNS,
) -> None:
    """Commands, the newest first, each with what came of it.

    Next: setpoint commands show ID
    """
    narrow = ("ID", "TIME", "INTENT", "SUBJECT", "EXECUTOR", "OUTCOME", "ATTEMPTS")
    wide = ("AGENT", "DETAIL", "DEADLINE", "DECISION", "FLOW")
    items = _items("/v1/commands", subject, limit, url, workspace)
    _put_list(items, format_of(as_json, output), (narrow, _command), (wide, _command_wide))


def commands_show(
    id: Annotated[str, typer.Argument(metavar="ID")],
    url: Url = None,
    workspace: WorkspaceOption = HERE,
    as_json: AsJson = False,
) -> None:
    """A command with its outcome and its effect."""
    _show(f"/v1/commands/{id}", url, workspace, as_json)


def _items(path: str, subject: str | None, limit: int, url: str | None, workspace: Path) -> list[dict[str, Any]]:
    from control_plane.cli.client import service

    with service(url, workspace) as client:
        return client.items(path, limit, subject=subject)


def _put_list(
    items: Sequence[Mapping[str, Any]],
    chosen: Format,
    narrow: tuple[Sequence[str], _Row],
    wide: tuple[Sequence[str], _Row],
) -> None:
    if chosen is Format.JSON:
        put_json(items)
        return
    shown = [narrow, wide] if chosen is Format.WIDE else [narrow]
    head = [name for names, _ in shown for name in names]
    rows = [[cell for _, row in shown for cell in row(item)] for item in items]
    put_columns(head, rows, wide=chosen is Format.WIDE)
    if not items:
        put("none is recorded yet")


def _show(path: str, url: str | None, workspace: Path, as_json: bool) -> None:
    from control_plane.cli.client import service

    with service(url, workspace) as client:
        item = client.get(path)
    if as_json:
        put_json(item)
    else:
        put_fields(item)


def _decision(item: Mapping[str, Any]) -> Sequence[Any]:
    verdict = item["verdict"] or {}
    reasons = verdict.get("reasons") or [{}]
    return (
        item["id"],
        _when(item),
        item["agent"],
        item["intent"],
        item["subject"],
        verdict.get("answer"),
        verdict.get("stage"),
        reasons[0].get("code"),
    )


def _decision_wide(item: Mapping[str, Any]) -> Sequence[Any]:
    return item["because"], item["confidence"], item["controls_revision"], item["correlation_id"]


def _command(item: Mapping[str, Any]) -> Sequence[Any]:
    outcome = item["outcome"] or {}
    return (
        item["id"],
        _when(item),
        item["intent"],
        item["subject"],
        item["executor"],
        outcome.get("status"),
        outcome.get("attempts"),
    )


def _command_wide(item: Mapping[str, Any]) -> Sequence[Any]:
    detail = (item["outcome"] or {}).get("detail")
    return item["agent"], detail, item["deadline_at"], item["decision_id"], item["correlation_id"]


def _when(item: Mapping[str, Any]) -> str:
    """To the second: the rest is in `show`."""
    return str(item["occurred_at"])[:19] + "Z"
