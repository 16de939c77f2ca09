"""Events that a workspace could meet: values around the thresholds that its files name, in the shapes of its schemas.

Reads the workspace's own texts; knows nothing of a seed but what it is given to draw with.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from random import Random
from typing import Any

import msgspec

from control_plane.catalogue import Controls, ControlSet
from control_plane.durations import parse_duration_ms
from control_plane.messages.event import BUILT_IN, is_reserved
from control_plane.ports.schemas import SchemaViolation

DATA_PER_TYPE = 48
TRIES_PER_TYPE = 400
NUMBERS: tuple[float, ...] = (0, 1, 2, 5, 10, 50, 100, 250, 500, 1000)
SPAN_MS_MAX = 60_000
NAMES_PER_PREFIX = 12
"""Enough for a fleet of which a share says something."""

_PATH = re.compile(r"\bdata((?:\.[A-Za-z_]\w*)+)")
_ROW_PATH = re.compile(r"\brows\.(\w+)\.(\w+)")
_NUMBER = re.compile(r"(?<![\w.\"'])-?\d+(?:\.\d+)?(?![\w.])")
_STRING = re.compile(r"\"((?:[^\"\\]|\\.)*)\"|'((?:[^'\\]|\\.)*)'")
_DURATION = re.compile(r"\"(\d+(?:\.\d+)?(?:ms|s|m|h))\"")

Data = dict[str, Any]


class Palette:
    """Of one workspace: event data by type, and the time spans that its rules and limits name."""

    def __init__(self, control_set: ControlSet, controls: Controls, random: Random) -> None:
        self.types = tuple(sorted(t for t in controls.known_types if t not in BUILT_IN and not is_reserved(t)))
        self.has_fleets = bool(controls.fleets)
        self.spans_ms = _spans(control_set)
        self.names = _names(control_set)
        self._controls = controls
        self._schemas = {item.name: msgspec.json.decode(item.body) for item in control_set.of_kind("schema")}
        self._values = _values(control_set)
        self.data = {event_type: self._data_of(event_type, random) for event_type in self.types}

    def span_ms(self, random: Random) -> int:
        """A pause that means something here: a little less than a span, a little more, exactly, or a part of it."""
        span = random.choice(self.spans_ms)
        return max(
            1, int(span * random.choice((0.1, 0.25, 0.5, 0.5, 0.95, 1.0, 1.0, 1.05))) + random.choice((-1, 0, 1))
        )

    def _data_of(self, event_type: str, random: Random) -> Sequence[Data]:
        found: dict[bytes, Data] = {}
        validator = self._controls.schemas.get(event_type)
        for _ in range(TRIES_PER_TYPE):
            data = self._made(event_type, random)
            try:
                if validator is not None:
                    validator.check(data)
            except SchemaViolation:
                continue
            found.setdefault(msgspec.json.encode(data, order="sorted"), data)
            if len(found) >= DATA_PER_TYPE:
                break
        return tuple(found.values()) or ({},)

    def _made(self, event_type: str, random: Random) -> Data:
        schema = self._schemas.get(event_type)
        if isinstance(schema, dict) and isinstance(schema.get("properties"), dict):
            made: Data = self._by_schema(schema, (), random)
            return made
        data: Data = {}
        for path in sorted(self._values):
            if random.random() < 0.95:
                _put(data, path, random.choice(self._values[path] or NUMBERS))
        return data

    def _by_schema(self, schema: Mapping[str, Any], path: tuple[str, ...], random: Random) -> Any:
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return random.choice(schema["enum"])
        kind = schema.get("type")
        kind = random.choice(kind) if isinstance(kind, list) else kind
        if kind == "object" or "properties" in schema:
            required = schema.get("required", ())
            return {
                name: self._by_schema(part if isinstance(part, dict) else {}, (*path, name), random)
                for name, part in schema.get("properties", {}).items()
                if name in required or random.random() < 0.85
            }
        if kind == "array":
            items = schema.get("items", {})
            items = items if isinstance(items, dict) else {}
            return [self._by_schema(items, path, random) for _ in range(random.randint(schema.get("minItems", 0), 3))]
        return self._leaf(kind, schema, path, random)

    def _leaf(self, kind: str | None, schema: Mapping[str, Any], path: tuple[str, ...], random: Random) -> Any:
        values = self._values.get(path, ())
        if kind == "boolean":
            return random.random() < 0.5
        if kind == "null":
            return None
        if kind in ("number", "integer", None):
            numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
            named = numbers or list(self._values.get((), ()))
            drawn = random.choice([*named, *numbers, *numbers, *NUMBERS])
            drawn = max(drawn, schema.get("minimum", drawn))
            drawn = min(drawn, schema.get("maximum", drawn))
            return int(drawn) if kind == "integer" else float(drawn)
        texts = [value for value in values if isinstance(value, str)]
        return random.choice([*texts, *texts, "a", "b", "some words"])


def _values(control_set: ControlSet) -> Mapping[tuple[str, ...], Sequence[Any]]:
    """What each path of `data` may be compared with; under the empty path, the numbers that agents' code names."""
    found: defaultdict[tuple[str, ...], set[Any]] = defaultdict(set)
    fields = dict(_row_fields(control_set))
    tables = [value for item in control_set.of_kind("reference") for value in _scalars(msgspec.json.decode(item.body))]
    for text in _texts(control_set):
        paths = [tuple(path.strip(".").split(".")) for path in _PATH.findall(text)]
        paths += [fields[named] for named in _ROW_PATH.findall(text) if named in fields]
        literals = [*_literals(text), *(tables if "reference" in text else ())]
        for path in paths:
            found[path].update(literals)
    for item in control_set.of_kind("agent"):
        found[()].update(value for value in _literals(item.body) if isinstance(value, float))
    return {path: sorted({*_around(values)}, key=repr) for path, values in found.items()}


def _around(values: Iterable[Any]) -> Iterator[Any]:
    """Each value; and of numbers what is just below, just above, and far off."""
    for value in values:
        yield value
        if isinstance(value, float):
            yield from (value - 1, value + 1, value * 0.5, value * 1.5, value + 0.001)


def _literals(text: str) -> list[Any]:
    without_strings = _STRING.sub(" ", text)
    strings = [first or second for first, second in _STRING.findall(text)]
    found: list[Any] = [float(number) for number in _NUMBER.findall(without_strings)]
    booleans = [True, False] if re.search(r"\b(true|false)\b", without_strings) else []
    return [*found, *strings, *booleans]


def _texts(control_set: ControlSet) -> Iterator[str]:
    """Every text in a definition: expressions are among them, and what is none names no path."""
    for kind in ("rule", "row", "fleet"):
        for item in control_set.of_kind(kind):
            yield from (value for value in _scalars(msgspec.json.decode(item.body)) if isinstance(value, str))


def _row_fields(control_set: ControlSet) -> Iterator[tuple[tuple[str, str], tuple[str, ...]]]:
    """From which path of `data` a field of a row is folded."""
    for item in control_set.of_kind("row"):
        body = msgspec.json.decode(item.body)
        for name, field in body.get("fields", {}).items():
            for value in _scalars(field):
                path = _PATH.search(value) if isinstance(value, str) else None
                if path is not None:
                    yield (body["row"], name), tuple(path[1].strip(".").split("."))


def _names(control_set: ControlSet) -> Sequence[str]:
    """Names that subjects may have: what policies and fleets mention, and others."""
    said = [value for item in control_set.of_kind("policy_data") for value in _scalars(msgspec.json.decode(item.body))]
    fleets = [value for item in control_set.of_kind("fleet") for value in _scalars(msgspec.json.decode(item.body))]
    for body in [*map(str, fleets), *(item.body for item in control_set.of_kind("policy"))]:
        # Most texts in them are no names: one ends in a dash or holds a digit.
        texts = _literals(body)
        said += [text for text in texts if isinstance(text, str) and re.search(r"-$|\d", text)]
    said = [text for text in said if isinstance(text, str) and re.fullmatch(r"[A-Za-z0-9][\w.-]{0,40}", text)]
    prefixed = [f"{text}{number}" for text in said if text.endswith("-") for number in range(1, NAMES_PER_PREFIX + 1)]
    said = [text for text in said if not text.endswith("-")]
    return tuple(dict.fromkeys([*said, *prefixed, *(f"s-{number}" for number in range(1, 9))]))


def _spans(control_set: ControlSet) -> Sequence[int]:
    """Durations that rules and limits name, as far as a run can wait for them."""
    found = {500}
    for kind in ("rule", "intent", "row"):
        for item in control_set.of_kind(kind):
            found.update(parse_duration_ms(text) for text in _DURATION.findall(item.body))
    return tuple(sorted(span for span in found if 0 < span <= SPAN_MS_MAX))


def _scalars(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        for inner in value.values():
            yield from _scalars(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _scalars(inner)
    else:
        yield value


def _put(data: Data, path: tuple[str, ...], value: Any) -> None:
    for name in path[:-1]:
        inner = data.setdefault(name, {})
        if not isinstance(inner, dict):
            return
        data = inner
    if path:
        data[path[-1]] = value


def kinds_of(controls: Controls) -> Mapping[str, Sequence[str]]:
    """The event types that may lead to an act, by the kind of subject that it would be on."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for each in controls.agents:
        for name in each.agent.intents:
            intent = controls.intents.get(name)
            if intent is not None:
                parts = [controls.projections[part] for part in each.agent.reads if part in controls.projections]
                found[intent.subject_kind].update(each.agent.listens_to, *(part.on for part in parts))
    return {kind: sorted(t for t in types if not is_reserved(t)) for kind, types in sorted(found.items())}
