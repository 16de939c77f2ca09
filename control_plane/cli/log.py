"""The log: log info and replay read it without a service, log continue asks a running one to go on with it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from control_plane.cli.exits import BAD_USAGE, FOUND_WRONG, CommandError, group_of
from control_plane.cli.output import AsFormat, AsJson, Format, format_of, put, put_columns, put_json
from control_plane.cli.places import HERE, Url, WorkspaceOption, settings_of
from control_plane.settings import Settings

if TYPE_CHECKING:
    from control_plane.ports.log_reader import LogReader

Data = Annotated[Path | None, typer.Option("--data", help="The data directory of an embedded log.")]
Backbone = Annotated[str | None, typer.Option(help="The log's URL: embedded://PATH or kafka://host:9092.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    group = group_of("The log itself.")
    group.command("info")(info)
    group.command("continue")(go_on)
    app.add_typer(group, name="log")
    app.command("replay")(replay)


def info(
    data: Data = None,
    backbone: Backbone = None,
    workspace: WorkspaceOption = HERE,
    as_json: AsJson = False,
    output: AsFormat = Format.COLUMNS,
) -> None:
    """What each topic holds; works beside a running service.

    With -o wide partition by partition.
    """
    settings = log_settings(data, backbone, workspace)
    reader = opened(settings)
    try:
        found = _partitions(reader)
    finally:
        reader.close()
    chosen = format_of(as_json, output)
    if chosen is Format.JSON:
        put_json({"backbone": settings.backbone, "partitions": found})
        return
    if chosen is Format.WIDE:
        rows = [(one["topic"], one["partition"], one["first"], one["next"], one["records_max"]) for one in found]
        put_columns(("TOPIC", "PARTITION", "FIRST", "NEXT", "RECORDS AT MOST"), rows)
        return
    by_topic: dict[str, list[int]] = {}
    for one in found:
        by_topic.setdefault(one["topic"], []).append(one["records_max"])
    put_columns(
        ("TOPIC", "PARTITIONS", "RECORDS AT MOST"),
        [(topic, len(counts), sum(counts)) for topic, counts in by_topic.items()],
    )


def go_on(
    partition: Annotated[int, typer.Option(min=0, help="The partition of events.v1 that is stopped.")],
    from_offset: Annotated[
        int | None, typer.Option("--from", min=0, help="Go on at this offset; what stands before it is left out.")
    ] = None,
    url: Url = None,
    workspace: WorkspaceOption = HERE,
    as_json: AsJson = False,
) -> None:
    """Let a partition go on whose log was wiped, cut or restored.

    Such a partition stops by itself, and /health/ready says why. Rows keep what they know and forget where they stood
    in the log. Without --from it goes on where nothing is done twice: at the first record where the log only lost its
    beginning, and otherwise at its end.
    """
    import json

    from control_plane.cli.client import service

    body = json.dumps({} if from_offset is None else {"from_offset": from_offset}).encode()
    with service(url, workspace) as client:
        said = client.post(f"/v1/partitions/{partition}/continue", body, "application/json")
    if as_json:
        put_json(said)
        return
    put(f"partition {partition} goes on at offset {said['next_offset']}, generation {said['generation']} of its log")


def replay(
    data: Data = None, backbone: Backbone = None, workspace: WorkspaceOption = HERE, as_json: AsJson = False
) -> None:
    """Run a log once more and compare every byte.

    Under the same versions the loop must say the same again. Exit code 1 on any difference.
    """
    reader = opened(log_settings(data, backbone, workspace))
    import asyncio

    from control_plane.bootstrap.records import replay as run_again
    from control_plane.replay import render

    try:
        report = asyncio.run(run_again(reader))
    finally:
        reader.close()
    if as_json:
        import msgspec

        put_json({"equal": report.equal, **msgspec.to_builtins(report)})
    else:
        put(render(report))
    if not report.equal:
        raise typer.Exit(FOUND_WRONG)


def log_settings(data: Path | None, backbone: str | None, workspace: Path) -> Settings:
    if data is not None and backbone is not None:
        raise CommandError("give --data or --backbone, not both.", BAD_USAGE)
    if data is not None and not data.is_dir():
        raise CommandError(f"{data} is no folder. Nothing was read.", BAD_USAGE)
    overrides = {"data_dir": None if data is None else str(data.resolve()), "backbone": backbone}
    if data is not None:
        overrides["backbone"] = f"embedded://{data.resolve() / 'log'}"
    return settings_of(workspace, overrides)


def opened(settings: Settings) -> "LogReader":
    path = Path(settings.backbone.removeprefix("embedded://").partition("?")[0])
    if settings.backbone.startswith("embedded://") and not path.is_dir():
        raise CommandError(
            f"there is no log at {path}. Nothing was read. Start the service once with `setpoint up`, or name another "
            "folder with --data.",
            BAD_USAGE,
        )
    from control_plane.bootstrap.records import open_reader

    return open_reader(settings)


def _partitions(reader: "LogReader") -> list[dict[str, Any]]:
    from control_plane.messages import topics

    found = []
    for topic in (*topics.KEYED_BY_SUBJECT, *topics.CONTROLS):
        for partition in range(reader.partitions(topic)):
            first, after = reader.bounds(topic, partition)
            found.append(
                {"topic": topic, "partition": partition, "first": first, "next": after, "records_max": after - first}
            )
    return found
