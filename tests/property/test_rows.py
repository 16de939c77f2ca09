"""Whatever comes, in whatever order and however late: a row shows what counting by hand from all events shows."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from state.projections import Projection
from state.projections.fold import is_number
from state.projections.quantile import QUANTILE_EXACT_MAX
from tests.unit.row_parts import field

TYPE = "parcel.scanned"
EPOCH_MS = 1_767_225_600_000
LATENESS_MS = 700

numbers = st.one_of(
    st.integers(-9, 9),
    st.floats(-1e6, 1e6),
    st.sampled_from([1e100, -1e100, 1e-300, -0.0, 5e-324, 2**63, 0.1]),
)
hostile = st.one_of(
    st.none(),
    st.booleans(),
    st.text(max_size=3),
    st.sampled_from([math.nan, math.inf, -math.inf, 1e101, 10**400, [1], {"a": 1}, "x" * 600, ...]),
)


@dataclass(frozen=True)
class Sent:
    """An event: when it came, how long before that it happened, and what it says; `...` says nothing."""

    now_ms: int
    occurred_ms: int
    value: Any

    @property
    def data(self) -> dict[str, Any]:
        return {} if self.value is ... else {"v": self.value}


@st.composite
def histories(draw: st.DrawFn, values: st.SearchStrategy[Any] = numbers) -> list[Sent]:
    """Events as they stand in a log: what happened before may come after, and now and then much time passes."""
    now_ms = EPOCH_MS + draw(st.integers(0, 5_000))
    sent = []
    for _ in range(draw(st.integers(1, 60))):
        now_ms += draw(st.sampled_from([0, 0, 1, 7, 50, 333, 1_000, 4_000]))
        late_ms = draw(st.sampled_from([0, 0, 1, 49, 50, 51, 400, 699, 700, 701, 999, 1_000, 1_050, 1_051, 3_000]))
        sent.append(Sent(now_ms, now_ms - late_ms, draw(values)))
    return sent


@dataclass(frozen=True)
class Shape:
    """A window as it is declared, and as the documentation says which events are in it."""

    window_ms: int
    tumbling: bool = False
    lateness_ms: int | None = None

    def declared(self, **more: Any) -> dict[str, Any]:
        lateness = {} if self.lateness_ms is None else {"lateness": f"{self.lateness_ms}ms"}
        return {"window": f"{self.window_ms}ms", "tumbling": self.tumbling, **lateness, **more}

    def begins_ms(self, now_ms: int) -> int:
        """A tumbling window begins at a multiple of its length, a sliding one at the twentieth that its edge is in."""
        if self.tumbling:
            return now_ms - now_ms % self.window_ms
        edge_ms = now_ms - self.window_ms
        return edge_ms - edge_ms % math.ceil(self.window_ms / 20)

    def counts(self, event: Sent) -> bool:
        lateness_ms = math.inf if self.lateness_ms is None else self.lateness_ms
        return self.begins_ms(event.now_ms) <= event.occurred_ms and event.now_ms - event.occurred_ms <= lateness_ms

    def holds(self, event: Sent, now_ms: int) -> bool:
        return self.counts(event) and self.begins_ms(now_ms) <= event.occurred_ms


SHAPES = {
    "sliding": Shape(1_000),
    "of an odd length": Shape(777),
    "tumbling": Shape(1_000, tumbling=True),
    "with bounded lateness": Shape(1_000, lateness_ms=LATENESS_MS),
    "tumbling with bounded lateness": Shape(1_000, tumbling=True, lateness_ms=LATENESS_MS),
}


def nearest_rank(values: Sequence[float], percent: int) -> float | None:
    """The least value that at least so many of all do not exceed."""
    ordered = sorted(values)
    return next((found for at, found in enumerate(ordered, start=1) if at * 100 >= percent * len(ordered)), None)


FIGURES: dict[str, tuple[dict[str, Any], Callable[[list[Any]], Any]]] = {
    "min": ({"of": "data.v"}, lambda values: min(values, default=None)),
    "max": ({"of": "data.v"}, lambda values: max(values, default=None)),
    "distinct": ({"of": "data.v"}, lambda values: len(set(values))),
    "quantile p0": ({"of": "data.v", "q": 0}, lambda values: nearest_rank(values, 0)),
    "quantile p50": ({"of": "data.v", "q": 0.5}, lambda values: nearest_rank(values, 50)),
    "quantile p99": ({"of": "data.v", "q": 0.99}, lambda values: nearest_rank(values, 99)),
    "quantile p100": ({"of": "data.v", "q": 1}, lambda values: nearest_rank(values, 100)),
    "count": ({}, len),
    "rate": ({}, len),
}


def part_of(shape: Shape) -> Projection:
    """A part with every figure over one window, and everything that has none."""
    windowed = [
        field(name.replace(" ", "_"), **{name.split()[0]: shape.declared(**how)}) for name, (how, _) in FIGURES.items()
    ]
    mean = field("mean", mean=shape.declared(of="data.v"))
    kept = [field(kind, **{kind: "data.v"}) for kind in ("last", "first")]
    seen = [field(kind, **{kind: {}}) for kind in ("first_seen", "last_seen")]
    return Projection(name="parcel", on=(TYPE,), fields=[*windowed, mean, *kept, *seen])


PARTS = {name: part_of(shape) for name, shape in SHAPES.items()}


def folded(part: Projection, history: Sequence[Sent], *, stored: Callable[[Any], Any] = lambda kept: kept) -> Any:
    """The part after a history; `stored` is what becomes of it between two events."""
    kept = None
    for event in history:
        kept = stored(part.fold(kept, TYPE, event.data, event.occurred_ms, event.now_ms))
    return kept


def through_bytes(kept: Any) -> Any:
    """Stored and read again, as by a restart."""
    return msgspec.msgpack.decode(msgspec.msgpack.encode(kept))


@pytest.mark.parametrize("name", SHAPES)
@settings(max_examples=150, deadline=None)
@given(history=histories(), later_ms=st.sampled_from([0, 1, 49, 500, 1_000, 1_049, 1_050, 9_000]))
def test_every_figure_is_what_counting_by_hand_gives(name: str, history: list[Sent], later_ms: int) -> None:
    shape, part = SHAPES[name], PARTS[name]
    now_ms = history[-1].now_ms + later_ms

    seen = part.view(folded(part, history), now_ms)

    inside = [event.value + 0.0 for event in history if shape.holds(event, now_ms)]
    for figure, (_, by_hand) in FIGURES.items():
        expected = by_hand(inside) / (shape.window_ms / 1_000) if figure == "rate" else by_hand(inside)
        assert seen.get(figure.replace(" ", "_")) == expected, figure
    assert alike(seen.get("mean"), math.fsum(inside) / len(inside) if inside else None, inside)


@settings(max_examples=150, deadline=None)
@given(history=histories())
def test_a_sliding_window_holds_its_whole_length_and_at_most_a_twentieth_more(history: list[Sent]) -> None:
    part = PARTS["sliding"]
    now_ms = history[-1].now_ms

    count = part.view(folded(part, history), now_ms)["count"]

    ages_ms = [now_ms - event.occurred_ms for event in history]
    assert sum(age_ms <= 1_000 for age_ms in ages_ms) <= count <= sum(age_ms < 1_050 for age_ms in ages_ms)


@pytest.mark.parametrize("name", SHAPES)
@settings(max_examples=100, deadline=None)
@given(history=histories(st.one_of(numbers, hostile)), seed=st.randoms(use_true_random=False))
def test_the_order_in_which_events_come_at_one_time_changes_nothing(name: str, history: list[Sent], seed: Any) -> None:
    """But for a mean's last digits, and for which of two values at the same time is the last or the first."""
    part, now_ms = PARTS[name], history[-1].now_ms
    at_once = [Sent(now_ms, event.occurred_ms, event.value) for event in history]
    shuffled = seed.sample(at_once, len(at_once))

    seen, seen_shuffled = (part.view(folded(part, order), now_ms) for order in (at_once, shuffled))

    summed = [event.value for event in history if is_number(event.value)]
    assert alike(seen.pop("mean", None), seen_shuffled.pop("mean", None), summed)
    for kind, at_ms in (("last", max), ("first", min)):
        when = at_ms((event.occurred_ms for event in at_once if says_something(event.value)), default=None)
        tied = sum(event.occurred_ms == when for event in at_once) > 1
        if tied:
            seen.pop(kind, None)
            seen_shuffled.pop(kind, None)
    assert seen == seen_shuffled
    assert part.gaps(folded(part, at_once)) == part.gaps(folded(part, shuffled))


@settings(max_examples=150, deadline=None)
@given(history=histories(st.one_of(numbers, hostile)))
def test_the_last_value_is_the_one_that_occurred_last_and_the_first_the_one_that_occurred_first(
    history: list[Sent],
) -> None:
    part = PARTS["sliding"]

    seen = part.view(folded(part, history), history[-1].now_ms)

    said = [event for event in history if says_something(event.value)]
    last = max(enumerate(said), key=lambda pair: (pair[1].occurred_ms, pair[0]), default=None)
    first = min(enumerate(said), key=lambda pair: (pair[1].occurred_ms, pair[0]), default=None)
    for kind, found in (("last", last), ("first", first)):
        kept = found is not None and found[1].value not in ("x" * 600, 10**400)
        assert seen.get(kind) == (found[1].value if found is not None and kept else None)


@settings(max_examples=150, deadline=None)
@given(history=histories(st.one_of(numbers, hostile)))
def test_a_restart_between_any_two_events_changes_no_byte(history: list[Sent]) -> None:
    part = PARTS["with bounded lateness"]

    straight, restarted = folded(part, history), folded(part, history, stored=through_bytes)

    assert msgspec.msgpack.encode(straight) == msgspec.msgpack.encode(restarted)
    assert part.view(straight, history[-1].now_ms) == part.view(restarted, history[-1].now_ms)


@pytest.mark.parametrize("name", SHAPES)
@settings(max_examples=100, deadline=None)
@given(history=histories(st.one_of(numbers, hostile)))
@example(history=[Sent(EPOCH_MS + n, EPOCH_MS + n, (-1) ** n * 1.5**n * 1e-20) for n in range(2 * QUANTILE_EXACT_MAX)])
@example(history=[Sent(EPOCH_MS + n, EPOCH_MS + n, f"{n}" * 100) for n in range(1_000)])
@example(history=[Sent(EPOCH_MS + n, EPOCH_MS + n - 3_000 * (n % 2), "x" * n) for n in range(1_000)])
def test_a_part_never_takes_more_bytes_than_it_says(name: str, history: list[Sent]) -> None:
    part = PARTS[name]

    row = {"parts": {part.name: folded(part, history)}, "folded_ms": {part.name: history[-1].now_ms}}

    others = {"parts": {}, "folded_ms": {}}
    assert len(msgspec.msgpack.encode(row)) - len(msgspec.msgpack.encode(others)) <= part.bytes_max


def alike(one: float | None, other: float | None, summed: Sequence[float]) -> bool:
    """The same but for what is lost when floats are added in another order."""
    if one is None or other is None:
        return one is other
    return abs(one - other) <= 1e-12 * max(map(abs, summed))


def says_something(value: Any) -> bool:
    """Whether there is a value; what has the type of a number and is none is nothing."""
    return value not in (None, ...) and not (isinstance(value, float) and not math.isfinite(value))
