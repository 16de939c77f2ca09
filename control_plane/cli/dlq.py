"""What could not be processed: listed, shown, given back to the loop once it is mended, or left at that."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any

import typer

from control_plane.cli.exits import BAD_USAGE, CommandError, group_of
from control_plane.cli.output import (
    AsFormat,
    AsJson,
    Format,
    format_of,
    hint,
    put,
    put_columns,
    put_fields,
    put_json,
)
from control_plane.cli.places import HERE, LETTERS, Url, WorkspaceOption


class Which(StrEnum):
    """Which letters are listed."""

    OPEN = "open"
    REDRIVEN = "redriven"
    DISCARDED = "discarded"
    ALL = "all"


Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Letters; or none, and a filter.")]
Reason = Annotated[str | None, typer.Option(help="Only with this reason's code, as in type_unknown.")]
Topic = Annotated[str | None, typer.Option(help="Only records of this topic, or of trigger/NAME.")]
Subject = Annotated[str | None, typer.Option(help="Only about this subject, kind/name.")]
AgentName = Annotated[str | None, typer.Option("--agent", help="Only those that this agent failed on.")]
Since = Annotated[str | None, typer.Option(help="Only those buried since: 30m ago, or an RFC 3339 time.")]
Because = Annotated[str, typer.Option(help="Why, in a sentence.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    dlq = group_of("Dead letters: what could not be processed, and its cure.")
    dlq.command("list")(dlq_list)
    dlq.command("show")(dlq_show)
    dlq.command("redrive")(dlq_redrive)
    dlq.command("discard")(dlq_discard)
    app.add_typer(dlq, name="dlq")


def dlq_list(
    state: Annotated[Which, typer.Option(help="open, redriven, discarded or all.")] = Which.OPEN,
    reason: Reason = None,
    topic: Topic = None,
    subject: Subject = None,
    agent: AgentName = None,
    since: Since = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many, the newest.")] = 50,
    url: Url = None,
    workspace: WorkspaceOption = HERE,
    as_json: AsJson = False,
    output: AsFormat = Format.COLUMNS,
) -> None:
    """Dead letters, the newest first.

    Next: setpoint dlq show ID
    """
    from control_plane.cli.client import service

    wanted = _filters(reason, topic, subject, agent, since)
    if state is not Which.ALL:
        wanted["state"] = state.value
    with service(url, workspace) as client:
        items = client.items(LETTERS, limit, **wanted)
    chosen = format_of(as_json, output)
    if chosen is Format.JSON:
        put_json(items)
        return
    _put_letters(items, wide=chosen is Format.WIDE)
    if not items:
        put("none" if state is Which.ALL else f"none is {state.value}")


def dlq_show(
    id: Annotated[str, typer.Argument(metavar="ID")],
    url: Url = None,
    workspace: WorkspaceOption = HERE,
    as_json: AsJson = False,
) -> None:
    """A dead letter with its record, what was done about it, and whether it can be redriven now.

    Next: setpoint dlq redrive ID
    """
    from control_plane.cli.client import service

    with service(url, workspace) as client:
        found = client.get(f"{LETTERS}/{id}")
    if as_json:
        put_json(found)
        return
    put_fields({name: value for name, value in found.items() if name not in ("record_base64", "sequence")})
    if found["state"] == "open" and found["objection"] is None:
        hint(f"next: setpoint dlq redrive {id}")


def dlq_redrive(
    ids: Ids = None,
    reason: Reason = None,
    topic: Topic = None,
    subject: Subject = None,
    agent: AgentName = None,
    since: Since = None,
    because: Because = "",
    dry_run: DryRun = False,
    yes: Yes = False,
    url: Url = None,
    workspace: WorkspaceOption = HERE,
    as_json: AsJson = False,
) -> None:
    """Give records back to the loop once what was wrong is mended.

    An event keeps its id and is folded once, however often this is done. Without ids, a filter says which letters; they
    are shown first. Exit code 1 where one of them would only be buried again. Next: setpoint dlq list
    """
    from control_plane.cli.client import service
    from control_plane.cli.resolving import Resolving

    wanted = _filters(reason, topic, subject, agent, since)
    with service(url, workspace) as client:
        Resolving(client, "redrive", because, as_json=as_json).run(ids or (), wanted, dry_run=dry_run, yes=yes)


def dlq_discard(
    ids: Ids = None,
    reason: Reason = None,
    topic: Topic = None,
    subject: Subject = None,
    agent: AgentName = None,
    since: Since = None,
    because: Because = "",
    dry_run: DryRun = False,
    yes: Yes = False,
    url: Url = None,
    workspace: WorkspaceOption = HERE,
    as_json: AsJson = False,
) -> None:
    """Leave dead letters at that: they stay on the log, and are open no longer.

    Without ids, a filter says which letters; they are shown first. Next: setpoint dlq list --state discarded
    """
    from control_plane.cli.client import service
    from control_plane.cli.resolving import Resolving

    wanted = _filters(reason, topic, subject, agent, since)
    with service(url, workspace) as client:
        Resolving(client, "discard", because, as_json=as_json).run(ids or (), wanted, dry_run=dry_run, yes=yes)


def _filters(
    reason: str | None, topic: str | None, subject: str | None, agent: str | None, since: str | None
) -> dict[str, str]:
    """What the options come to; what is not given is left out."""
    given = {"reason": reason, "topic": topic, "subject": subject, "agent": agent}
    given["since"] = None if since is None else _moment(since)
    return {name: value for name, value in given.items() if value is not None}


def _moment(text: str) -> str:
    """A time as REST takes it. Raises CommandError."""
    from control_plane.durations import is_duration, parse_duration_ms

    try:
        if is_duration(text):
            return (datetime.now(UTC) - timedelta(milliseconds=parse_duration_ms(text))).isoformat()
        when = datetime.fromisoformat(text)
    except ValueError:
        raise CommandError(f"--since {text!r} is no time: write 30m, or 2026-01-31T12:00:00Z.", BAD_USAGE) from None
    return (when if when.tzinfo else when.astimezone()).isoformat()


def _put_letters(items: Sequence[Mapping[str, Any]], *, wide: bool) -> None:
    head = ["ID", "TIME", "STATE", "REASON", "SUBJECT", "FROM", "OFTEN", "DETAIL"]
    head += ["AGENT", "FIELD", "CURE", "BY", "BECAUSE", "FLOW"] if wide else []
    put_columns(head, [_narrow(item) + (_wide(item) if wide else []) for item in items], wide=wide)


def _narrow(item: Mapping[str, Any]) -> list[Any]:
    place = f"{item['from_topic']}/{item['from_partition']}@{item['from_offset']}"
    when = str(item["occurred_at"])[:19] + "Z"
    return [item["id"], when, item["state"], item["code"], item["subject"], place, item["copies"], item["detail"]]


def _wide(item: Mapping[str, Any]) -> list[Any]:
    done = item["resolution"] or {}
    return [item["agent"], item["field"], item["cure"], done.get("by"), done.get("because"), item["correlation_id"]]
