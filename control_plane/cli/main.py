"""The command line, whole: every command with its module. A module imports what it needs when it is run, so that help
comes at once."""

import gc
import os
from typing import Annotated

import typer

from control_plane.cli import (
    applying,
    completion,
    decisions,
    demo,
    dlq,
    doctor,
    events,
    explain,
    log,
    opa,
    people,
    policy,
    schemas,
    service,
    simulate,
    workspace,
)
from control_plane.cli.completion import COMPLETE_VARIABLE
from control_plane.cli.exits import Group

LOADING_OBJECTS = 100_000
"""New objects before Python looks for cycles among them, in a command; a service sets its own."""

app = typer.Typer(
    name="setpoint",
    cls=Group,
    help="A closed-loop control plane: agents propose, policy rules, executors act, outcomes come back.",
    epilog="Begin with: setpoint init my-loop, then: setpoint up my-loop",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from control_plane.cli.output import put
        from control_plane.settings import setpoint_version

        put(f"setpoint {setpoint_version()}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None: ...


for module in (
    workspace,
    applying,
    service,
    events,
    people,
    decisions,
    explain,
    policy,
    opa,
    dlq,
    schemas,
    log,
    simulate,
    demo,
    doctor,
    completion,
):
    module.add_to(app)


def main() -> None:
    """The entry point `setpoint`."""
    # What is loaded stays: looking through it for cycles while loading costs a tenth of a start.
    gc.set_threshold(LOADING_OBJECTS)
    if COMPLETE_VARIABLE in os.environ:
        completion.answer_shells()
    app(prog_name="setpoint")


if __name__ == "__main__":
    main()
