"""What differs between two sets of control items, item by item, as people read it. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from difflib import unified_diff
from typing import Any, Final, Literal

import msgspec
import yaml
from msgspec import Struct

from control_plane.catalogue import ControlItem

CONTEXT_LINES: Final = 3
How = Literal["added", "changed", "removed"]
_AS_WRITTEN: Final = frozenset({"policy", "agent", "prompt"})
"""Kinds that travel as the text of their file; all others as canonical JSON, which is shown as YAML."""


class Change(Struct, frozen=True, kw_only=True):
    """One item that is not the same on both sides."""

    kind: str
    name: str
    how: How
    before: ControlItem | None = None
    after: ControlItem | None = None

    @property
    def title(self) -> str:
        """What it is about, as people call it."""
        return f"{self.kind} {self.name}"

    def lines(self) -> list[str]:
        """A unified diff of the two texts; of what came or went, the whole text."""
        before, after = (text_of(item) if item is not None else [] for item in (self.before, self.after))
        label = f"{self.kind}/{self.name}"
        names = (label if self.before is not None else "none", label if self.after is not None else "none")
        return list(unified_diff(before, after, *names, n=CONTEXT_LINES, lineterm=""))


class Applied(Struct, frozen=True, kw_only=True):
    """What an apply has published."""

    before: str
    revision: str
    changes: tuple[Change, ...]


class Moved(Struct, frozen=True):
    """An apply that changed nothing, because something else is in force than what it was compared with."""

    revision: str


def changes_between(before: Iterable[ControlItem], after: Iterable[ControlItem]) -> tuple[Change, ...]:
    """What has to be done to get from one set to the other, sorted by kind and name."""
    old, new = _by_name(before), _by_name(after)
    changes = []
    for place in sorted({*old, *new}):
        left, right = old.get(place), new.get(place)
        if left == right:
            continue
        how: How = "changed" if left and right else "added" if right else "removed"
        changes.append(Change(kind=place[0], name=place[1], how=how, before=left, after=right))
    return tuple(changes)


def summary_of(changes: Sequence[Change]) -> str:
    """How much differs, in one line: `2 added, 1 changed`."""
    ways: tuple[How, ...] = ("added", "changed", "removed")
    counts = {way: sum(change.how == way for change in changes) for way in ways}
    return ", ".join(f"{count} {way}" for way, count in counts.items() if count) or "nothing"


def text_of(item: ControlItem) -> list[str]:
    """The lines of an item. Comments and the order of keys are not part of it: they make no new version."""
    if item.kind in _AS_WRITTEN:
        return item.body.splitlines()
    try:
        value: Any = msgspec.json.decode(item.body)
    except msgspec.DecodeError:
        return item.body.splitlines()  # From a service that is newer than we are.
    shown: str = yaml.safe_dump(value, sort_keys=True, allow_unicode=True, width=110)
    return shown.splitlines()


def _by_name(items: Iterable[ControlItem]) -> Mapping[tuple[str, str], ControlItem]:
    return {(item.kind, item.name): item for item in items}
