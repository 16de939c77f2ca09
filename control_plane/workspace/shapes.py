"""Does a tree of values have the shape of a definition? All that is wrong is named where it stands.

Works on the structs of `catalogue.definitions` and on those of executors and triggers: their types and limits are the
only description of a file there is.
"""

import types
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import msgspec
from msgspec import Struct

from control_plane.catalogue.definitions import Duration
from control_plane.durations import parse_duration_ms
from control_plane.workspace.flaws import Flaws, did_you_mean, shown
from control_plane.workspace.yaml_tree import Node

S = TypeVar("S", bound=Struct)

_WORDS: Mapping[Any, str] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "a mapping",
}


def shaped(file: str, node: Node, definition: type[S], flaws: Flaws, *, without: Iterable[str] = ()) -> S | None:
    """The definition that a mapping stands for; None when it has flaws, which are added. Keys `without` are passed by.

    The file's name goes into the flaws.
    """
    before = len(flaws)
    passed_by = frozenset(without)
    _Check(file, flaws).struct(node, definition, passed_by)
    if len(flaws) > before:
        return None
    values = {name: value for name, value in node.plain().items() if name not in passed_by}
    try:
        return msgspec.convert(values, definition)
    except (msgspec.ValidationError, ValueError) as exc:
        flaws.add(file, node, f"this does not fit together: {exc}", "Change it so that it does.")
        return None


class _Check:
    def __init__(self, file: str, flaws: Flaws) -> None:
        self._file = file
        self._flaws = flaws

    def struct(self, node: Node, definition: type[Struct], passed_by: frozenset[str] = frozenset()) -> None:
        if not isinstance(node.value, dict):
            self._add(node, f"{shown(node.plain())} stands where a mapping belongs", "Write `key: value` lines.")
            return
        fields = {field.encode_name: field for field in msgspec.structs.fields(definition)}
        for name, entry in node.value.items():
            if name in fields:
                self._value(name, entry.value, fields[name].type)
            elif name not in passed_by:
                absent = set(fields) - set(node.value)
                self._add(entry.key, f"there is no key {name} here", did_you_mean(name, absent, "Take it out."))
        for name, field in fields.items():
            if field.required and name not in node.value:
                self._add(node, f"{name} is missing", f"Add `{name}:` with {_wanted(field.type)}")

    def _value(self, name: str, node: Node, annotation: Any) -> None:
        kind = _kind(annotation, node)
        origin, arguments = get_origin(kind) or kind, get_args(kind)
        if isinstance(origin, type) and issubclass(origin, Struct):
            self.struct(node, origin)
        elif origin is list and isinstance(node.value, list):
            for item in node.value:
                self._value(name, item, arguments[0] if arguments else Any)
            self._long_enough(name, node, annotation)
        elif origin is dict and isinstance(node.value, dict):
            self._mapping(name, node, arguments or (str, Any))
            self._long_enough(name, node, annotation)
        else:
            self._leaf(name, node, annotation)

    def _mapping(self, name: str, node: Node, arguments: tuple[Any, ...]) -> None:
        for key, entry in node.value.items():
            if not _fits(key, arguments[0]):
                self._add(entry.key, f"{name} cannot have a key {shown(key)}", f"A key is {_wanted(arguments[0])}")
            self._value(key, entry.value, arguments[1])

    def _long_enough(self, name: str, node: Node, annotation: Any) -> None:
        if not node.value and not _fits(node.plain(), annotation):
            self._add(node, f"{name} is empty", "Put at least one thing in it, or leave it out.")

    def _leaf(self, name: str, node: Node, annotation: Any) -> None:
        value = node.plain()
        if annotation is Any or _fits(value, annotation):
            return
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if number and _fits(str(value), annotation):
            self._add(node, f"{name} is the number {value}, and text is wanted", f'Put it in quotes: "{value}".')
            return
        said = "is empty" if value is None else f"cannot be {shown(value)}"
        self._add(node, f"{name} {said}", f"Write {_wanted(annotation)}")

    def _add(self, node: Node, problem: str, cure: str) -> None:
        self._flaws.add(self._file, node, problem, cure)


def _fits(value: Any, annotation: Any) -> bool:
    try:
        msgspec.convert(value, annotation)
        if _is_duration(annotation) and value is not None:
            parse_duration_ms(value)
    except (msgspec.ValidationError, ValueError):
        return False
    return True


def _is_duration(annotation: Any) -> bool:
    return annotation == Duration or (_is_union(annotation) and Duration in get_args(annotation))


def _is_union(annotation: Any) -> bool:
    return get_origin(annotation) in (Union, types.UnionType)


def _kind(annotation: Any, node: Node) -> Any:
    """The one type among alternatives that the value is probably meant to have."""
    base = get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation
    if not _is_union(base):
        return base
    alternatives = [_kind(argument, node) for argument in get_args(base) if argument is not type(None)]
    wanted = list if isinstance(node.value, list) else dict if isinstance(node.value, dict) else None
    for alternative in alternatives:
        if (get_origin(alternative) or alternative) is wanted:
            return alternative
    structs = [found for found in alternatives if isinstance(found, type) and issubclass(found, Struct)]
    return structs[0] if structs and (wanted is dict or len(alternatives) == 1) else alternatives[0]


def _wanted(annotation: Any) -> str:
    """What belongs here, as the end of a sentence."""
    if _is_union(annotation):
        alternatives = [argument for argument in get_args(annotation) if argument is not type(None)]
        return " Or: ".join(_wanted(argument) for argument in alternatives)
    if get_origin(annotation) is not Annotated:
        origin = get_origin(annotation) or annotation
        choices = get_args(annotation)
        if choices and origin not in _WORDS:
            return f"one of {', '.join(str(choice) for choice in choices)}."
        return _WORDS.get(origin, "a mapping") + "."
    base, *metas = get_args(annotation)
    for meta in metas:
        if isinstance(meta, msgspec.Meta):
            return _limited(_WORDS.get(get_origin(base) or base, "a value"), meta)
    return _wanted(base)


def _limited(word: str, meta: msgspec.Meta) -> str:
    if meta.ge is not None and meta.le is not None:
        return f"{word} from {meta.ge} to {meta.le}."
    if meta.ge is not None:
        return f"{word} of at least {meta.ge}."
    if meta.gt is not None:
        return f"{word} of more than {meta.gt}."
    if meta.description:
        return f"{word}: {meta.description}"
    return f"{word} of at most {meta.max_length} characters." if meta.max_length else f"{word}."
