"""What came in, as an event: a definition's expressions, compiled once and evaluated on each item.

Gives the bytes of a CloudEvent, or InvalidMessage that names the field at fault. Draws no id and asks for no time:
the same item gives the same bytes.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta
from msgspec.structs import astuple

from control_plane.catalogue.definitions import Expression
from control_plane.errors import InvalidMessage
from control_plane.ports.expressions import ExpressionInvalid, ExpressionMiss, Expressions, Program, Scope
from control_plane.triggers.formats import Format, Variables
from control_plane.triggers.tools import Declared, Keys
from control_plane.workspace.examined import Examined, Formula, Problem

MS_FROM: Final = 100_000_000_000
"""A number from here on is a time in milliseconds, one below it in seconds: both are of this age."""

TypeText = Annotated[
    str, Meta(min_length=1, max_length=500, description="an event type, as in order.placed; {expressions} are filled.")
]
FieldName = Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=64, description="a field's name.")]

_TYPE: Final = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")
_HOLE: Final = re.compile(r"\{([^{}]*)\}")
_CARRIED: Final = ("correlationid", "traceparent")
"""What an item that is a CloudEvent hands on beside what is mapped."""


class EventKeys(Keys, frozen=True):
    """`event:` of a definition. `type` is text with {expressions}, everything else is an expression; a value of null
    is left out of the data."""

    type: TypeText | None = None
    subject: Expression | None = None
    id: Expression | None = None
    occurred_at: Expression | None = None
    data: dict[FieldName, Expression] | None = None


def examine_event(keys: EventKeys, form: Format, variables: frozenset[str], *, id_needed: bool = False) -> Examined:
    """What can be said of a mapping before anything comes in."""
    problems = [_missing(name) for name in ("type", "subject") if not (getattr(keys, name) or getattr(form, name))]
    if id_needed and not (keys.id or form.id):
        problems.append(_missing("id"))
    if keys.type is not None and (problem := _type_problem(keys.type)):
        problems.append(Problem(path=("event", "type"), problem=problem, cure="Write it as in order.placed."))
    formulas = [
        Formula(path=("event", name), variables=variables, in_holes=name == "type")
        for name in ("type", "subject", "id", "occurred_at")
        if getattr(keys, name) is not None
    ]
    formulas += [Formula(path=("event", "data", name), variables=variables) for name in keys.data or ()]
    types = form.types if keys.type is None else frozenset({keys.type} if not _HOLE.search(keys.type) else ())
    return Examined(problems=tuple(problems), formulas=tuple(formulas), types=types)


_CURES: Final = {
    "type": "Add `type:`, as in order.placed.",
    "subject": """Add `subject:` with an expression, as in '"service/" + item.service'.""",
    "id": "Add `id:` with an expression that is the same whenever the sender repeats itself, as in item.id.",
}


def _missing(name: str) -> Problem:
    return Problem(path=("event",), problem=f"event says no {name}", cure=_CURES[name])


def _type_problem(text: str) -> str | None:
    sample = _HOLE.sub("x", text)
    if "{" in sample or "}" in sample:
        return f"type {text!r} has a brace without its partner"
    return None if _TYPE.fullmatch(sample) else f"type {text!r} is no event type"


class Filled:
    """A text with {expressions}, compiled."""

    def __init__(self, text: str, expressions: Expressions) -> None:
        parts = _HOLE.split(text)
        self._literals = parts[0::2]
        self.programs = tuple(expressions.compile(hole) for hole in parts[1::2])

    def filled(self, scope: Scope) -> str:
        """The text for one item. Raises ExpressionMiss."""
        if not self.programs:
            return self._literals[0]
        values = [_text(program.evaluate(scope)) for program in self.programs]
        return "".join(piece for pair in zip(self._literals, [*values, ""], strict=True) for piece in pair)


class EventMapping:
    """One definition's mapping. Raises InvalidWorkspace when an expression in it is none."""

    def __init__(
        self, declared: Declared, keys: EventKeys, form: Format, expressions: Expressions, when: str | None = None
    ) -> None:
        self._declared = declared
        self._expressions = expressions
        self._as_sent = form.as_sent and not any(value is not None for value in astuple(keys))
        try:
            self._when = None if when is None else expressions.compile(when)
            self._type = Filled(keys.type or form.type or "", expressions)
            self._parts = self._compiled(keys, form)
            data = {**form.data, **(keys.data or {})}
            self._data = {name: expressions.compile(text) for name, text in data.items()}
            whole = None if data or form.whole is None else form.whole
            self._whole = None if whole is None else expressions.compile(whole)
        except ExpressionInvalid as invalid:
            raise declared.wrong(f"an expression is none: {invalid}", "Run setpoint check.") from invalid
        programs = [*self._type.programs, *self._parts.values(), *self._data.values(), self._when, self._whole]
        self._programs: Sequence[Program] = [program for program in programs if program is not None]

    def _compiled(self, keys: EventKeys, form: Format) -> dict[str, Program]:
        texts = {name: getattr(keys, name) or getattr(form, name) for name in ("subject", "id", "occurred_at")}
        texts["source"] = form.source
        return {name: self._expressions.compile(text) for name, text in texts.items() if text is not None}

    @property
    def passes_as_sent(self) -> bool:
        """Whether nothing of an item is looked at: it is an event already."""
        return self._as_sent and self._when is None

    def event(
        self, variables: Variables, *, default_id: str, as_sent: bytes, places: Mapping[str, str]
    ) -> bytes | None:
        """The event as CloudEvents JSON; None when `when` does not hold. `places` says where the sender finds what a
        variable stands for. Raises InvalidMessage."""
        scope = self._expressions.scope(variables, self._programs)
        if self._when is not None and not _holds(self._when, scope):
            return None
        if self._as_sent:
            return as_sent
        making = _Making(self._declared.name, scope, variables, places)
        envelope: dict[str, Any] = {
            "specversion": "1.0",
            "id": making.text("id", self._parts["id"]) if "id" in self._parts else default_id,
            "source": making.text("source", self._parts["source"])
            if "source" in self._parts
            else self._declared.source,
            "type": making.filled(self._type),
            "subject": making.text("subject", self._parts["subject"]),
            "datacontenttype": "application/json",
        }
        if "occurred_at" in self._parts and (time := making.time(self._parts["occurred_at"])) is not None:
            envelope["time"] = time
        item = variables.get("item")
        if "source" in self._parts and isinstance(item, dict):
            envelope |= {name: item[name] for name in _CARRIED if name in item}
        envelope["data"] = self._made_data(making)
        return msgspec.json.encode(envelope)

    def _made_data(self, making: "_Making") -> Any:
        if self._whole is not None:
            whole = making.value("data", self._whole)
            return {} if whole is None else whole
        made = {name: making.value(f"data.{name}", program) for name, program in self._data.items()}
        return {name: value for name, value in made.items() if value is not None}


class _Making:
    """One item on its way to an event: evaluates, and says whose fault a miss is."""

    def __init__(self, trigger: str, scope: Scope, variables: Variables, places: Mapping[str, str]) -> None:
        self._trigger = trigger
        self._scope = scope
        self._variables = variables
        self._places = places

    def value(self, name: str, program: Program) -> Any:
        try:
            return program.evaluate(self._scope)
        except ExpressionMiss as miss:
            raise self._unmappable(name, str(miss), program) from miss

    def text(self, name: str, program: Program) -> str:
        value = self.value(name, program)
        try:
            return _text(value)
        except ExpressionMiss as miss:
            raise self._unmappable(name, str(miss), program) from miss

    def filled(self, template: Filled) -> str:
        try:
            return template.filled(self._scope)
        except ExpressionMiss as miss:
            raise self._unmappable("type", str(miss), *template.programs) from miss

    def time(self, program: Program) -> datetime | str | None:
        value = self.value("occurred_at", program)
        if value is None or isinstance(value, str | datetime):
            return value
        if isinstance(value, int | float) and not isinstance(value, bool):
            seconds = value / 1000 if value >= MS_FROM else value
            try:
                return datetime.fromtimestamp(seconds, UTC)
            except (ValueError, OverflowError, OSError):
                pass
        raise self._unmappable("occurred_at", f"{value!r} is no time", program)

    def _unmappable(self, name: str, why: str, *programs: Program) -> InvalidMessage:
        return InvalidMessage(
            "unmappable",
            f"event.{name} cannot be made of what was sent: {why}",
            field=self._fault(programs),
            cure=f"Have the sender give it, or change event.{name} of the trigger {self._trigger}.",
        )

    def _fault(self, programs: Sequence[Program]) -> str | None:
        """The first field that is read and is not there, as the sender would call it; else the first that is read."""
        paths = sorted(path for program in programs for path in program.paths)
        for path in [path for path in paths if not _is_there(path, self._variables)] or paths[:1]:
            return ".".join(step for step in (self._places.get(path[0], path[0]), *path[1:]) if step) or None
        return None


def _holds(program: Program, scope: Scope) -> bool:
    """Whether a condition holds; as everywhere, one that meets a missing field does not."""
    try:
        return program.evaluate(scope) is True
    except ExpressionMiss:
        return False


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise ExpressionMiss(f"{value!r} is no text")


def _is_there(path: tuple[str, ...], variables: Variables) -> bool:
    value: Any = variables
    for step in path:
        if not isinstance(value, dict) or step not in value:
            return False
        value = value[step]
    return True
