"""A row part as a user declares it: named fields, each folded in its own way and within a declared number of bytes.

What is kept of a part is `[keys, late, missed, kept, kept, ...]`. A key is a digest of what is kept and how: fields
that want the same share it, and when a declaration changes, what did not change is carried over and the rest begins
anew. `late` and `missed` count, by key, the events that came too late for a field, and those whose value was not there,
was none that the field can take, or was too large.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

from msgspec import Struct

from control_plane.causality import digest
from state.projections import folds
from state.projections.distinct import collecting, view_distinct
from state.projections.fold import LATE, Add, Fold, View
from state.projections.quantile import ranking, view_quantile
from state.projections.windows import Window

PARTS_BYTES_MAX = 48 * 1024
"""What all parts that one event type feeds may take of a row; the rest is for what agents, commands and ids take."""

Kind = Literal[
    "last", "first", "count", "rate", "min", "max", "mean", "quantile", "distinct", "first_seen", "last_seen"
]
Kept = list[Any]
ReadValue = Callable[[Mapping[str, Any]], Any]
"""Reads a value from an event's data. Raises KeyError or TypeError when it is not there."""

_KEY_CHARS = 8
_LATE, _MISSED, _FIRST = 1, 2, 3
_NUMBER_BYTES = 9
_NO_WINDOW = Window(length_ms=1)
_SAME_FOLD: Mapping[str, str] = {"rate": "count"}


class Field(Struct, frozen=True, kw_only=True):
    """One field. `read` reads what `reads` says, and is None where events are counted or seen; `of_type` narrows those
    to one type. `share` is for a quantile, `bytes_max` for a value that is kept as it is."""

    name: str
    kind: Kind
    read: ReadValue | None = None
    reads: str = ""
    of_type: str | None = None
    window: Window = _NO_WINDOW
    share: float = 0.0
    bytes_max: int = 0

    @property
    def key(self) -> str:
        """Digest of what is kept for the field, and how."""
        window = self.window
        kept = (_SAME_FOLD.get(self.kind, self.kind), self.reads, self.of_type or "", str(self.bytes_max))
        shape = (str(window.length_ms), str(window.tumbling), str(window.lateness_ms))
        return digest(*kept, *shape)[:_KEY_CHARS]


class Gaps(Struct, frozen=True):
    """How many events did not count in a field: they came too late, or their value was missed."""

    late: int
    missed: int


class Projection:
    """A row part: its name, the event types that feed it, and its fields. Made once; folding goes through closures."""

    def __init__(self, *, name: str, on: Sequence[str], fields: Sequence[Field]) -> None:
        self.name = name
        self.on = tuple(dict.fromkeys(on))
        self.fields = tuple(fields)
        by_key = {field.key: field for field in self.fields}
        self._slots = {key: _FIRST + at for at, key in enumerate(by_key)}
        self._keys = "".join(by_key)
        made = {key: _fold_of(field) for key, field in by_key.items()}
        self._plans = {event_type: self._plan(event_type, by_key.values(), made) for event_type in self.on}
        self._views = tuple((field.name, self._slots[field.key], _view_of(field)) for field in self.fields)
        self.bytes_by_field: Mapping[str, int] = {
            field.name: made[key].bytes_max + _KEY_CHARS + 2 * (_KEY_CHARS + 1 + _NUMBER_BYTES)
            for key, field in by_key.items()
        }
        """What each field may take in the worst case; fields that share what is kept are named once."""

    @property
    def bytes_max(self) -> int:
        """What the part may take of a row in the worst case, its name included."""
        names = 2 * (len(self.name) + 2) + _NUMBER_BYTES
        return names + 3 + 5 + 2 * 3 + sum(self.bytes_by_field.values())

    def fold(self, part: Kept | None, event_type: str, data: Mapping[str, Any], occurred_ms: int, now_ms: int) -> Kept:
        """The part after one event that came at `now_ms`."""
        kept = part.copy() if part is not None and part[0] == self._keys else self._carried_over(part)
        for read, adds in self._plans[event_type]:
            value = None
            if read is not None:
                try:
                    value = read(data)
                except (KeyError, TypeError):
                    for slot, _ in adds:
                        self._note(kept, _MISSED, slot)
                    continue
            for slot, add in adds:
                found = add(kept[slot], value, occurred_ms, now_ms)
                if found.__class__ is tuple:
                    found, gap = found
                    self._note(kept, _LATE if gap == LATE else _MISSED, slot)
                kept[slot] = found
        return kept

    def view(self, part: Kept, now_ms: int) -> dict[str, Any]:
        """The part as it is seen; fields without a value are left out, so that an expression on them does not match."""
        kept = part if part[0] == self._keys else self._carried_over(part)
        seen = [(name, view(kept[slot], now_ms)) for name, slot, view in self._views]
        return {name: value for name, value in seen if value is not None}

    def gaps(self, part: Kept) -> dict[str, Gaps]:
        """What did not count, by field, since the field was declared as it is; fields without gaps are left out."""
        found = {
            field.name: Gaps(part[_LATE].get(field.key, 0), part[_MISSED].get(field.key, 0)) for field in self.fields
        }
        return {name: gaps for name, gaps in found.items() if gaps.late or gaps.missed}

    def new_gaps(self, before: Kept | None, after: Kept) -> Gaps | None:
        """In how many fields one event did not count: in none, as a rule, and that is None."""
        late, missed = after[_LATE], after[_MISSED]
        if before is not None and late is before[_LATE] and missed is before[_MISSED]:
            return None
        found = Gaps(_more(late, before, _LATE), _more(missed, before, _MISSED))
        return found if found.late or found.missed else None

    def _plan(
        self, event_type: str, fields: Iterable[Field], made: Mapping[str, Fold]
    ) -> tuple[tuple[ReadValue | None, tuple[tuple[int, Add], ...]], ...]:
        """What an event of a type is folded into; what several folds read is read once."""
        readers: dict[str, ReadValue | None] = {}
        adds: dict[str, list[tuple[int, Add]]] = {}
        for field in fields:
            if field.of_type in (None, event_type):
                readers.setdefault(field.reads, field.read)
                adds.setdefault(field.reads, []).append((self._slots[field.key], made[field.key].add))
        return tuple((readers[reads], tuple(found)) for reads, found in adds.items())

    def _carried_over(self, part: Kept | None) -> Kept:
        """A part as it is declared now, with what was kept under the same keys before."""
        if part is None:
            return [self._keys, {}, {}, *[None] * len(self._slots)]
        before = {part[0][at : at + _KEY_CHARS]: _FIRST + at // _KEY_CHARS for at in range(0, len(part[0]), _KEY_CHARS)}
        late, missed = ({key: n for key, n in part[gap].items() if key in self._slots} for gap in (_LATE, _MISSED))
        kept = [part[before[key]] if key in before else None for key in self._slots]
        return [self._keys, late, missed, *kept]

    def _note(self, kept: Kept, gap: int, slot: int) -> None:
        at = (slot - _FIRST) * _KEY_CHARS
        key = self._keys[at : at + _KEY_CHARS]
        kept[gap] = {**kept[gap], key: kept[gap].get(key, 0) + 1}


def _more(after: Mapping[str, int], before: Kept | None, gap: int) -> int:
    counted: Mapping[str, int] = before[gap] if before is not None else {}
    return sum(n - counted.get(key, 0) for key, n in after.items())


_FOLDS: Mapping[str, Callable[[Field], Fold]] = {
    "last": lambda field: folds.keeping_last(field.bytes_max),
    "first": lambda field: folds.keeping_first(field.bytes_max),
    "count": lambda field: folds.counting(field.window),
    "rate": lambda field: folds.counting(field.window),
    "min": lambda field: folds.keeping_least(field.window),
    "max": lambda field: folds.keeping_greatest(field.window),
    "mean": lambda field: folds.averaging(field.window),
    "quantile": lambda field: ranking(field.window),
    "distinct": lambda field: collecting(field.window),
    "first_seen": lambda field: folds.seen(first=True),
    "last_seen": lambda field: folds.seen(first=False),
}

_VIEWS: Mapping[str, Callable[[Field], View]] = {
    "last": lambda field: folds.view_value,
    "first": lambda field: folds.view_value,
    "first_seen": lambda field: folds.view_time,
    "last_seen": lambda field: folds.view_time,
    "count": lambda field: folds.view_count(field.window),
    "rate": lambda field: folds.view_rate(field.window),
    "min": lambda field: folds.view_of_cells(field.window, min),
    "max": lambda field: folds.view_of_cells(field.window, max),
    "mean": lambda field: folds.view_of_cells(field.window, folds.mean_of),
    "quantile": lambda field: view_quantile(field.window, field.share),
    "distinct": lambda field: view_distinct(field.window),
}

KINDS: tuple[str, ...] = tuple(_FOLDS)
"""Every way of folding that a field can name."""


def _fold_of(field: Field) -> Fold:
    return _FOLDS[field.kind](field)


def _view_of(field: Field) -> View:
    return _VIEWS[field.kind](field)
