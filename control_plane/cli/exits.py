"""How a command ends: one message on stderr, and an exit code that says whose turn it is."""

import os
import sys
from collections.abc import Callable
from typing import Any, Final

import typer
from typer.core import TyperGroup

from control_plane.errors import InvalidSettings, SetpointError, TemporaryError

FOUND_WRONG: Final = 1
"""It found what it was asked to find wrong, or the work was refused."""

BAD_USAGE: Final = 2
CANNOT_REACH: Final = 3
INTERRUPTED: Final = 130


class CommandError(Exception):
    """A command that ends without having done what it was asked for."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class Group(TyperGroup):
    """A group of commands whose expected errors end in a message, never in a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command; turn what it raises on purpose into an exit code."""
        return ending_well(lambda: super(Group, self).invoke(ctx))


def group_of(help: str) -> typer.Typer:
    """A group within the command. Plain help: the rich kind costs 150 ms each time somebody looks."""
    return typer.Typer(help=help, no_args_is_help=True, rich_markup_mode=None)


def ending_well(run: Callable[[], Any]) -> Any:
    """What `run` gives; what it raises on purpose becomes a message and an exit code."""
    try:
        return _flushed(run)
    except CommandError as exc:
        raise _ended(str(exc), exc.code) from exc
    except SetpointError as exc:
        raise _ended(str(exc), code_of(exc)) from exc
    except BrokenPipeError as exc:
        # Whoever read the output has seen enough. What is still buffered must not fail once more at the exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from exc
    except KeyboardInterrupt as exc:
        raise typer.Exit(INTERRUPTED) from exc


def _flushed(run: Callable[[], Any]) -> Any:
    """Write out what was printed while a reader that has left can still be noticed."""
    try:
        return run()
    finally:
        sys.stdout.flush()


def code_of(exc: SetpointError) -> int:
    """The exit code of one of our errors."""
    if isinstance(exc, TemporaryError):
        return CANNOT_REACH
    return BAD_USAGE if isinstance(exc, InvalidSettings) else FOUND_WRONG


def _ended(message: str, code: int) -> typer.Exit:
    for line in message.splitlines() or [""]:
        print(f"setpoint: {line}", file=sys.stderr)  # noqa: T201 - a terminal is what a command has
    return typer.Exit(code)
