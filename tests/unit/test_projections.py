"""Row parts as users declare them: folded purely, in windows of event time, bounded whatever comes in."""

import itertools
import random
from typing import Any

import msgspec
import pytest

from control_plane.catalogue.definitions import FieldDefinition
from control_plane.workspace.compiling import compile_field
from state.projections import Projection
from state.projections.declared import BUCKETS_PER_WINDOW
from state.rows import Row, decode_row, encode_row
from tests import builders

WINDOW_MS = 60_000
BUCKET_MS = WINDOW_MS // BUCKETS_PER_WINDOW


class Part:
    """One part with one field; milliseconds are event time."""

    def __init__(self, on: tuple[str, ...] = ("service.measured",), **definition: Any) -> None:
        field = compile_field("it", msgspec.convert(definition, FieldDefinition), builders.EXPRESSIONS)
        self.projection = Projection(name="health", on=on, fields=(field,))
        self.kept: dict[str, Any] = {}

    def fold(self, at_ms: int, data: dict[str, Any] | None = None, event_type: str = "service.measured") -> "Part":
        self.kept = self.projection.fold(self.kept, event_type, data or {}, at_ms)
        return self

    def view(self, now_ms: int) -> Any:
        return self.projection.view(self.kept, now_ms).get("it")


def windowed(kind: str) -> Part:
    return Part(**{kind: {"of": "data.rss", "window": "1m"}})


def test_last_and_first_keep_one_value() -> None:
    last, first = Part(last="data.rss"), Part(first="data.rss")
    for at_ms, rss in ((0, 1.0), (10, 3.0), (20, 2.0)):
        last.fold(at_ms, {"rss": rss})
        first.fold(at_ms, {"rss": rss})

    assert (last.view(20), first.view(20)) == (2.0, 1.0)


@pytest.mark.parametrize("data", [{}, {"rss": None}, {"deep": 1}], ids=["missing", "null", "another"])
def test_a_value_that_is_missing_changes_nothing(data: dict[str, Any]) -> None:
    part = Part(max={"of": "data.rss", "window": "1m"}).fold(0, {"rss": 5.0})

    assert part.fold(1, data).view(1) == 5.0


@pytest.mark.parametrize("value", ["9", True, None, [9], {"a": 9}])
def test_only_numbers_are_reckoned_with(value: Any) -> None:
    assert windowed("max").fold(0, {"rss": 5.0}).fold(1, {"rss": value}).view(1) == 5.0


def test_a_path_through_something_that_is_no_object_is_missing() -> None:
    part = Part(last="data.a.b")

    for data in ({"a": 1}, {"a": "text"}, {"a": [1]}, {"a": None}):
        part.fold(0, data)

    assert part.view(0) is None


def test_a_value_may_be_an_expression_and_is_kept_as_json_has_it() -> None:
    part = Part(last='duration("90s")').fold(0)
    row = Row(subject="service/web-1", parts={"health": part.kept})

    assert decode_row(encode_row(row)) == row


def test_figures_over_a_window() -> None:
    parts = {kind: windowed(kind) for kind in ("min", "max", "mean")}
    for part, (at_ms, rss) in itertools.product(parts.values(), ((0, 2.0), (10, 6.0), (20, 1.0))):
        part.fold(at_ms, {"rss": rss})

    assert {kind: part.view(20) for kind, part in parts.items()} == {"min": 1.0, "max": 6.0, "mean": 3.0}


def test_a_window_without_values_has_no_figure_and_a_count_of_none() -> None:
    assert windowed("mean").fold(0, {"rss": 1.0}).view(2 * WINDOW_MS) is None
    assert Part(count={"window": "1m"}).fold(0).view(2 * WINDOW_MS) == 0


def test_a_count_may_be_of_one_type_only() -> None:
    part = Part(on=("service.measured", "service.failed"), count={"of": "service.failed", "window": "1m"})

    part.fold(0, event_type="service.failed").fold(1, event_type="service.measured")

    assert part.view(1) == 1


def test_an_event_leaves_the_window_within_a_bucket_of_its_end() -> None:
    part = Part(count={"window": "1m"}).fold(0)

    assert part.view(WINDOW_MS - 1) == 1
    assert part.view(WINDOW_MS + BUCKET_MS - 1) == 1
    assert part.view(WINDOW_MS + BUCKET_MS) == 0


def test_a_late_event_counts_in_its_own_time_and_one_that_is_too_late_not_at_all() -> None:
    part = Part(count={"window": "1m"}).fold(10 * WINDOW_MS)

    part.fold(10 * WINDOW_MS - 30_000)
    assert part.view(10 * WINDOW_MS) == 2
    part.fold(8 * WINDOW_MS)
    assert part.view(10 * WINDOW_MS) == 2
    assert part.view(10 * WINDOW_MS + 31_000 + BUCKET_MS) == 1


def test_disorder_inside_the_window_gives_the_same_figures() -> None:
    events = [(at_ms, float(at_ms % 97)) for at_ms in range(0, WINDOW_MS, 1_500)]
    in_order, shuffled = windowed("mean"), windowed("mean")
    mixed = random.Random(1).sample(events, len(events))

    for (at_ms, rss), (mixed_ms, mixed_rss) in zip(events, mixed, strict=True):
        in_order.fold(at_ms, {"rss": rss})
        shuffled.fold(mixed_ms, {"rss": mixed_rss})

    assert shuffled.view(WINDOW_MS) == pytest.approx(in_order.view(WINDOW_MS))
    assert [bucket[:2] for bucket in shuffled.kept["it"]] == [bucket[:2] for bucket in in_order.kept["it"]]


def test_a_window_is_bounded_whatever_comes_in() -> None:
    part = windowed("mean")
    draw = random.Random(2)

    for _ in range(5_000):
        part.fold(draw.randrange(100 * WINDOW_MS), {"rss": draw.random()})

    assert len(part.kept["it"]) <= BUCKETS_PER_WINDOW + 1
    ends = [bucket[0] for bucket in part.kept["it"]]
    assert ends == sorted(ends)


@pytest.mark.parametrize("seed", range(20))
def test_a_window_agrees_with_counting_by_hand(seed: int) -> None:
    """Exact to a bucket: between what is surely inside and what may still be."""
    draw = random.Random(seed)
    part, times = Part(count={"window": "1m"}), []
    for now_ms in range(10 * WINDOW_MS, 13 * WINDOW_MS, 1_000):
        at_ms = now_ms - draw.randrange(2 * WINDOW_MS)
        part.fold(at_ms)
        times.append(at_ms)
        surely = sum(found > now_ms - WINDOW_MS + BUCKET_MS for found in times)
        perhaps = sum(found > now_ms - WINDOW_MS - BUCKET_MS for found in times)
        assert surely <= part.view(now_ms) <= perhaps


def test_folding_changes_nothing_in_place() -> None:
    part = windowed("max").fold(0, {"rss": 1.0}).fold(1, {"rss": 2.0})
    before = msgspec.json.encode(part.kept)
    kept = part.kept

    part.fold(2, {"rss": 9.0})

    assert msgspec.json.encode(kept) == before


@pytest.mark.parametrize("definition", [{}, {"last": "data.a", "first": "data.a"}])
def test_a_field_is_folded_in_exactly_one_way(definition: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="name exactly one of last, first, count, min, max, mean"):
        compile_field("it", msgspec.convert(definition, FieldDefinition), builders.EXPRESSIONS)
