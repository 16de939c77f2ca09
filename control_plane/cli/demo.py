"""The command demo. What it shows lives in `control_plane.demo`."""

from pathlib import Path
from typing import Annotated

import typer

from control_plane.cli.output import AsJson


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo")(demo)


def demo(
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="incident, orders or llm")] = "incident",
    seed: Annotated[int | None, typer.Option(min=0, help="Draws what is broken, how and when.")] = None,
    data: Annotated[Path | None, typer.Option(help="Keep what it wrote in this folder, new or empty.")] = None,
    backbone: Annotated[str | None, typer.Option(help="Another log, as in kafka://127.0.0.1:9092.")] = None,
    live: Annotated[
        bool, typer.Option(help="llm: ask a model (OPENAI_API_KEY, OPENAI_BASE_URL, OPENAI_MODEL).")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Watch a real loop act, while the demo breaks things for real.

    incident: services crash, leak and slow down, and are restarted. orders: orders are held, hurried and refunded by
    rules alone, while the warehouse fails in five ways. llm: a language model sorts letters on recorded answers; some
    name what it may not, one hangs, and then its budget is used up. Each ends by itself with a scorecard; exit code 0
    only if all went well. Next: setpoint init my-loop --example incident
    """
    from control_plane.demo.command import demo_command

    raise typer.Exit(demo_command(name, seed=seed, json_output=as_json, data=data, backbone=backbone, live=live))
