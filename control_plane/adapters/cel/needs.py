"""Flat variables: what an expression reads, and how it is looked up among the variables of an event."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

Path = tuple[str, ...]
Use = Literal["value", "has", "range", "addend"]

RANGE_ITEMS_MAX = 1_000
"""A longer list or map is not walked by `all`, `exists`, ...: the expression does not match. Nothing else bounds the
time that an expression takes on data from outside."""

BY_KEY = "[]"
"""Stands in a path for a key that is only known when the expression is evaluated."""

ABSENT: Final = object()
SCALARS: Final = frozenset({bool, int, float, str, type(None), bytes})

_PREFIX: dict[Use, str] = {"value": "__v_", "has": "__h_", "range": "__r_", "addend": "__a_"}
FLAT_NAME = re.compile(r"__[vhra]_\w+")
_UNNAMED = re.compile(r"[^A-Za-z0-9]")


@dataclass(frozen=True, slots=True)
class Need:
    """One flat variable: where its value comes from, and what is made of it.

    `value` is what stands at the path, `has` whether the last field is there, `range` a list to walk: the list that
    stands at the path, or the sorted keys of the map; `addend` what stands there unless it is a map. Where there is a
    `key`, the value of that other path is put in place of `BY_KEY`.
    """

    name: str
    use: Use
    holders: Path
    last: str
    key: Path = ()

    @property
    def path(self) -> Path:
        return (*self.holders, self.last)

    @property
    def paths(self) -> tuple[Path, ...]:
        """All that is read: with a key, that of the key as well."""
        return (self.path, self.key) if self.key else (self.path,)

    @property
    def shown(self) -> str:
        """As people write it."""
        return ".".join(self.path).replace(f".{BY_KEY}", f"[{'.'.join(self.key)}]")

    @classmethod
    def of(cls, path: Path, use: Use, key: Path = ()) -> "Need":
        name = _PREFIX[use] + "_0".join(_named(field) for field in path)
        return cls(name + "".join(f"_4{_named(field)}" for field in key), use, path[:-1], path[-1], key)


def value_of(need: Need, variables: Mapping[str, Any]) -> Any:
    """What a flat variable stands for; `ABSENT` when it is not there."""
    value: Any = variables
    for field in need.holders:
        value = _field(value, field, need, variables)
    if need.use == "has":
        return _has(value, need, variables)
    value = _field(value, need.last, need, variables)
    if need.use == "range":
        return _walkable(value)
    if value.__class__ in SCALARS or not isinstance(value, Mapping):
        return value
    return ABSENT if need.use == "addend" else dict(value)


def _named(field: str) -> str:
    """A field as part of a name: "_" becomes "_1", anything else a number, so that no two paths share a name."""
    return _UNNAMED.sub(lambda found: "_1" if found[0] == "_" else f"_2{ord(found[0]):x}_3", field)


def _field(holder: Any, field: str, need: Need, variables: Mapping[str, Any]) -> Any:
    # Asked of a plain dict first: the general question costs four times as much.
    if holder.__class__ is dict or isinstance(holder, Mapping):
        return holder.get(_key(need, variables) if field is BY_KEY else field, ABSENT)
    return ABSENT


def _key(need: Need, variables: Mapping[str, Any]) -> Any:
    """The key as a table has it: whole numbers are written out. What can be no key is in no table."""
    value: Any = variables
    for field in need.key:
        value = value.get(field, ABSENT) if isinstance(value, Mapping) else ABSENT
    return str(value) if value.__class__ is int else value if isinstance(value, str) else ABSENT


def _has(holder: Any, need: Need, variables: Mapping[str, Any]) -> Any:
    if not isinstance(holder, Mapping):
        return ABSENT
    key = _key(need, variables) if need.last is BY_KEY else need.last
    return ABSENT if key is ABSENT else key in holder


def _walkable(value: Any) -> Any:
    """What a macro walks: a list, or a map's keys in one order everywhere."""
    if not isinstance(value, list | tuple | Mapping) or len(value) > RANGE_ITEMS_MAX:
        return ABSENT
    return sorted(value, key=str) if isinstance(value, Mapping) else value
