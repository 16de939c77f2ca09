"""The command completion: a script for the user's shell."""

from enum import StrEnum
from typing import Annotated, Final

import typer

from control_plane.cli.output import put

COMPLETE_VARIABLE: Final = "_SETPOINT_COMPLETE"
"""Set by the script when it asks for completions."""


class Shell(StrEnum):
    """Shells that can complete."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("completion")(completion)


def completion(shell: Annotated[Shell, typer.Argument(help="The shell that is to complete.")]) -> None:
    """Print a completion script.

    Next, for bash: eval "$(setpoint completion bash)"
    """
    from typer._completion_shared import get_completion_script

    put(get_completion_script(prog_name="setpoint", complete_var=COMPLETE_VARIABLE, shell=shell.value))


def answer_shells() -> None:
    """Let the command answer what the script asks."""
    from typer._completion_classes import completion_init

    completion_init()
