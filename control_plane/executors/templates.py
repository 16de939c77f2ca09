"""Texts with places for what a command says: `{subject}`, `{command_id}`, `{parameters.x}`."""

import json
import re
from collections.abc import Callable
from typing import Any

from control_plane.executors.tools import DefinitionInvalid
from control_plane.sdk import Command, Subject

NAMES = ("subject", "subject.kind", "subject.name", "command_id", "intent")
_PLACE = re.compile(r"\{([^{}]*)\}")
_PARAMETER = re.compile(r"parameters\.[A-Za-z_][A-Za-z0-9_]*")


class ParameterMissing(Exception):
    """The command lacks what a template needs: nothing can be done with it."""


class Template:
    """One text, taken apart once. `quote` makes a value fit where the text is going."""

    def __init__(self, text: str, *, place: str, quote: Callable[[str], str] = str) -> None:
        parts = _PLACE.split(text)
        self.text = text
        self._literals = parts[0::2]
        self._names = parts[1::2]
        self._quote = quote
        for name in self._names:
            if name not in NAMES and not _PARAMETER.fullmatch(name):
                raise DefinitionInvalid(
                    place, f"{{{name}}} stands for nothing", f"Known: {', '.join(NAMES)}, parameters.NAME."
                )
        if any(brace in literal for literal in self._literals for brace in "{}"):
            raise DefinitionInvalid(place, f"{text!r} has a brace without its partner", "Write {name}, both braces.")

    @property
    def begins_with_a_value(self) -> bool:
        """Whether what a command says stands at the very beginning."""
        return bool(self._names) and not self._literals[0]

    def filled(self, command: Command) -> str:
        """The text for one command. Raises ParameterMissing."""
        if not self._names:
            return self.text
        values = [self._quote(_value(name, command)) for name in self._names]
        return "".join(piece for pair in zip(self._literals, [*values, ""], strict=True) for piece in pair)


def _value(name: str, command: Command) -> str:
    if name.startswith("parameters."):
        return _parameter(name.removeprefix("parameters."), command)
    if name.startswith("subject."):
        subject = Subject.parse(command.subject)
        return subject.kind if name == "subject.kind" else subject.name
    if name == "command_id":
        return command.lineage.message_id
    return command.intent if name == "intent" else command.subject


def _parameter(name: str, command: Command) -> str:
    if name not in command.parameters:
        raise ParameterMissing(f"the command has no parameter {name}")
    value: Any = command.parameters[name]
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), sort_keys=True)
