"""Row parts as users declare them: folded purely, in windows of event time, bounded whatever comes in."""

import itertools
import math
from typing import Any

import msgspec
import pytest

from control_plane.workspace.compiling import FieldInvalid
from state.projections import Projection
from state.projections.windows import CELLS_PER_WINDOW
from state.rows import Row, decode_row, encode_row
from tests.unit.row_parts import EXPRESSIONS, Part, field, projection, windowed

MINUTE_MS = 60_000
CELL_MS = MINUTE_MS // CELLS_PER_WINDOW

HOSTILE = (10**400, -(10**400), 1e308, -1e308, math.nan, math.inf, "9", True, None, [9], {"a": 9})
"""Values that no figure is made of."""


class TestKeptValues:
    def test_last_and_first_follow_the_time_at_which_things_happened(self) -> None:
        last, first = Part(last="data.rss"), Part(first="data.rss")
        for at_ms, rss in ((10, 1.0), (30, 3.0), (20, 2.0)):
            last.fold(at_ms, {"rss": rss})
            first.fold(at_ms, {"rss": rss})

        assert (last.view(), first.view()) == (3.0, 1.0)
        assert first.fold(5, {"rss": 0.5}).view() == 0.5

    def test_of_two_at_the_same_time_the_order_of_the_log_decides(self) -> None:
        last, first = Part(last="data.rss"), Part(first="data.rss")
        for rss in ("one", "two"):
            last.fold(10, {"rss": rss})
            first.fold(10, {"rss": rss})

        assert (last.view(), first.view()) == ("two", "one")

    def test_a_value_that_is_too_large_is_not_kept_and_the_one_before_it_is_not_shown_for_it(self) -> None:
        part = Part(last="data.rss").fold(1, {"rss": "short"}).fold(2, {"rss": "x" * 100_000})

        assert part.view() is None
        assert part.gaps == (0, 1)
        assert len(msgspec.msgpack.encode(part.kept)) < 100
        assert part.fold(3, {"rss": "short again"}).view() == "short again"

    def test_how_large_a_value_may_be_is_declared(self) -> None:
        note = "x" * 2_000

        assert Part(last={"of": "data.rss", "bytes_max": 2_003}).values(note).view() == note
        assert Part(last={"of": "data.rss", "bytes_max": 2_002}).values(note).view() is None
        assert Part(last="data.rss").values("é" * 254).view() is not None, "bytes are counted, not characters"
        assert Part(last="data.rss").values("é" * 255).view() is None

    @pytest.mark.parametrize("value", [10**30, -(2**63) - 1, {"deep": [10**30]}])
    def test_a_number_that_no_row_can_hold_is_too_large(self, value: Any) -> None:
        part = Part(last="data.rss").values(value)

        assert part.view() is None
        assert encode_row(Row(subject="service/web-1", parts={"health": part.kept}))

    def test_first_seen_and_last_seen_are_times_that_expressions_can_read(self) -> None:
        first, last = Part(first_seen={}), Part(last_seen={})
        for at_ms in (1_767_225_600_123, 1_767_225_700_000, 1_767_225_650_000):
            first.fold(at_ms)
            last.fold(at_ms)

        assert first.view() == "2026-01-01T00:00:00.123Z"
        assert last.view() == "2026-01-01T00:01:40.000Z"
        between = EXPRESSIONS.compile("timestamp(last) - timestamp(first) > duration('99s')")
        assert between.evaluate(EXPRESSIONS.scope({"first": first.view(), "last": last.view()})) is True

    def test_a_value_may_be_an_expression_and_is_kept_as_json_has_it(self) -> None:
        part = Part(last='duration("90s")').fold(0)
        row = Row(subject="service/web-1", parts={"health": part.kept})

        assert decode_row(encode_row(row)) == row


class TestFigures:
    def test_figures_over_a_window(self) -> None:
        kinds = ("min", "max", "mean", "distinct")
        parts = {kind: windowed(kind).values(2.0, 6.0, 1.0) for kind in kinds}

        assert {kind: part.view() for kind, part in parts.items()} == {
            "min": 1.0,
            "max": 6.0,
            "mean": 3.0,
            "distinct": 3,
        }

    def test_figures_are_numbers_with_a_fraction_whatever_came_in(self) -> None:
        for kind in ("min", "max", "mean"):
            assert repr(windowed(kind).values(3).view()) == "3.0"
            assert repr(windowed(kind).values(-0.0).view()) == "0.0", "there is one zero, so that order does not matter"

    def test_a_rate_is_per_second_over_the_whole_window(self) -> None:
        part = Part(rate={"window": "1m"})
        for at_ms in range(0, 30_000, 1_000):
            part.fold(at_ms)

        assert part.view() == 0.5

    def test_counts_and_rates_may_be_of_one_type_only(self) -> None:
        on = ("service.measured", "service.failed")
        for kind, expected in (("count", 1), ("rate", 1 / 60)):
            part = Part(on=on, **{kind: {"of": "service.failed", "window": "1m"}})
            assert part.fold(0, event_type="service.failed").fold(1).view() == expected
        seen = Part(on=on, last_seen={"of": "service.failed"})
        assert seen.fold(0, event_type="service.failed").fold(1_000).view() == "1970-01-01T00:00:00.000Z"

    def test_a_window_without_values_has_no_figure_and_counts_none(self) -> None:
        for kind in ("min", "max", "mean"):
            assert windowed(kind).values(1.0).view(2 * MINUTE_MS) is None
        assert windowed("quantile", q=0.5).values(1.0).view(2 * MINUTE_MS) is None
        assert windowed("distinct").values(1.0).view(2 * MINUTE_MS) == 0
        assert Part(count={"window": "1m"}).fold(0).view(2 * MINUTE_MS) == 0
        assert Part(rate={"window": "1m"}).fold(0).view(2 * MINUTE_MS) == 0.0

    @pytest.mark.parametrize("value", HOSTILE, ids=lambda value: repr(value)[:12])
    @pytest.mark.parametrize("kind", ["min", "max", "mean", "quantile"])
    def test_only_numbers_are_reckoned_with_and_the_rest_is_counted(self, kind: str, value: Any) -> None:
        part = windowed(kind, **({"q": 0.5} if kind == "quantile" else {})).values(5.0, value)

        assert part.view() == 5.0
        assert part.gaps == (0, 1)

    @pytest.mark.parametrize("data", [{}, {"rss": None}, {"deep": 1}], ids=["missing", "null", "another"])
    @pytest.mark.parametrize("kind", ["max", "distinct", "last"])
    def test_a_value_that_is_missing_changes_nothing_and_is_counted(self, kind: str, data: dict[str, Any]) -> None:
        part = Part(last="data.rss") if kind == "last" else windowed(kind)
        before = part.values(1.0).view()

        assert part.fold(2, data).view() == before
        assert part.gaps == (0, 1)

    def test_a_path_through_something_that_is_no_object_is_missing(self) -> None:
        part = Part(last="data.a.b")

        for data in ({"a": 1}, {"a": "text"}, {"a": [1]}, {"a": None}):
            part.fold(0, data)

        assert part.view() is None
        assert part.gaps == (0, 4)


class TestWindows:
    def test_an_event_leaves_the_window_within_a_twentieth_after_its_end(self) -> None:
        part = Part(count={"window": "1m"}).fold(0)

        assert part.view(MINUTE_MS - 1) == 1
        assert part.view(MINUTE_MS + CELL_MS - 1) == 1
        assert part.view(MINUTE_MS + CELL_MS) == 0

    @pytest.mark.parametrize("window_ms", [20, 21, 39, 59, 999])
    def test_a_window_that_is_no_multiple_of_twenty_is_kept_in_no_more_cells(self, window_ms: int) -> None:
        part = Part(count={"window": f"{window_ms}ms"})

        for at_ms in range(5 * window_ms):
            part.fold(at_ms)

        assert window_ms <= part.view() <= window_ms + -(-window_ms // CELLS_PER_WINDOW)
        assert len(part.kept[-1]) <= 1 + CELLS_PER_WINDOW + 1

    def test_a_late_event_counts_in_its_own_time_and_one_that_is_too_late_not_at_all(self) -> None:
        part = Part(count={"window": "1m"}).fold(10 * MINUTE_MS)

        part.fold(10 * MINUTE_MS - 30_000)
        assert (part.view(), part.gaps) == (2, (0, 0))
        part.fold(8 * MINUTE_MS)
        assert (part.view(), part.gaps) == (2, (1, 0))
        assert part.view(10 * MINUTE_MS + 31_000 + CELL_MS) == 1

    def test_how_late_an_event_may_be_is_declared(self) -> None:
        for kind in ("count", "distinct", "max", "quantile"):
            more = {} if kind == "count" else {"of": "data.rss"}
            more |= {"q": 0.5} if kind == "quantile" else {}
            part = Part(**{kind: {"window": "1m", "lateness": "5s", **more}}).fold(MINUTE_MS, {"rss": 1})

            in_time = part.fold(MINUTE_MS - 5_000, {"rss": 2})
            assert in_time.gaps == (0, 0), kind
            too_late = part.fold(MINUTE_MS - 5_001, {"rss": 3})
            assert too_late.gaps == (1, 0), kind

    def test_late_is_what_is_old_when_it_arrives_not_what_is_older_than_another_event(self) -> None:
        part = Part(count={"window": "1m", "lateness": "5s"})

        part.fold(0, now_ms=10_000)

        assert part.gaps == (1, 0)

    def test_a_tumbling_window_begins_anew_at_each_multiple_of_its_length(self) -> None:
        part = Part(count={"window": "1m", "tumbling": True})
        for at_ms in (0, 30_000, MINUTE_MS - 1):
            part.fold(at_ms)

        assert part.view(MINUTE_MS - 1) == 3
        assert part.view(MINUTE_MS) == 0
        assert part.fold(MINUTE_MS).view() == 1
        assert part.fold(MINUTE_MS - 1).view() == 1, "what belongs to the window before does not count in this one"
        assert part.gaps == (1, 0)

    def test_what_is_kept_stays_within_cells_whatever_comes_in(self) -> None:
        part = windowed("max")

        for at_ms in itertools.chain(range(0, 10**7, 997), range(10**7, 10**7 - 10**5, -131)):
            part.fold(at_ms, {"rss": at_ms})

        assert len(part.kept[-1]) <= 1 + CELLS_PER_WINDOW + 1

    def test_time_before_1970_is_time_as_well(self) -> None:
        part = Part(count={"window": "1m"})
        part.now_ms = -5 * MINUTE_MS

        assert part.fold(-5 * MINUTE_MS).fold(-5 * MINUTE_MS - 30_000).view() == 2


class TestParts:
    def test_folding_changes_nothing_in_place(self) -> None:
        definitions = {
            "last": {"last": "data.rss"},
            "max": {"max": {"of": "data.rss", "window": "1m"}},
            "mean": {"mean": {"of": "data.rss", "window": "1m"}},
            "p99": {"quantile": {"of": "data.rss", "q": 0.99, "window": "1m"}},
            "kinds": {"distinct": {"of": "data.rss", "window": "1m"}},
        }
        part = projection(**definitions)
        kept = part.fold(part.fold(None, "service.measured", {"rss": 1.0}, 0, 0), "service.measured", {"rss": 2}, 1, 1)
        before = msgspec.msgpack.encode(kept)

        part.fold(kept, "service.measured", {"rss": 9.0}, 2, 2)
        part.fold(kept, "service.measured", {}, 2, 99_000)
        part.view(kept, 99_000)

        assert msgspec.msgpack.encode(kept) == before

    def test_fields_that_want_the_same_share_what_is_kept(self) -> None:
        quantile = {"of": "data.rss", "window": "1m"}
        one = projection(p50={"quantile": {**quantile, "q": 0.5}})
        three = projection(**{f"p{q}": {"quantile": {**quantile, "q": q / 100}} for q in (50, 95, 99)})
        counts = projection(count={"count": {"window": "1m"}}, rate={"rate": {"window": "1m"}})

        assert three.bytes_max == one.bytes_max
        assert len(counts.fold(None, "service.measured", {}, 0, 0)) == len(one.fold(None, "service.measured", {}, 0, 0))

    def test_a_value_that_several_fields_want_is_read_once(self) -> None:
        read: list[Any] = []
        reading = [field(kind, **{kind: {"of": "data.rss", "window": "1m"}}) for kind in ("min", "max", "mean")]
        counted = [msgspec.structs.replace(found, read=lambda data: read.append(1) or data["rss"]) for found in reading]

        Projection(name="p", on=("a.b",), fields=counted).fold(None, "a.b", {"rss": 1}, 0, 0)

        assert read == [1]

    def test_a_type_that_is_named_twice_feeds_a_part_once(self) -> None:
        part = projection(("a.b", "a.b"), it={"count": {"window": "1m"}})

        assert part.on == ("a.b",)

    def test_when_a_declaration_changes_what_did_not_change_is_kept_and_the_rest_begins_anew(self) -> None:
        last, count = {"last": "data.rss"}, {"count": {"window": "1m"}}
        before = projection(rss=last, scans=count, gone={"last": "data.gone"})
        kept = before.fold(None, "service.measured", {"rss": "many", "gone": 1}, 0, 0)

        after = projection(rss={"mean": {"of": "data.rss", "window": "1m"}}, renamed=count, new={"last": "data.new"})

        assert after.view(kept, 0) == {"renamed": 1}
        kept = after.fold(kept, "service.measured", {"rss": 4}, 1, 1)
        assert after.view(kept, 1) == {"rss": 4.0, "renamed": 2}
        assert after.gaps(kept)["new"].missed == 1
        assert len(kept) == 3 + 3, "what nobody declares any longer is dropped"

    def test_an_event_is_folded_into_what_it_is_for_and_leaves_the_rest_alone(self) -> None:
        part = projection(("a.b", "a.c"), b={"count": {"of": "a.b", "window": "1m"}}, rss={"last": "data.rss"})
        kept = part.fold(None, "a.b", {"rss": 1}, 0, 0)

        assert part.view(part.fold(kept, "a.c", {"rss": 2}, 1, 1), 1) == {"b": 1, "rss": 2}


@pytest.mark.parametrize("definition", [{}, {"last": "data.a", "first": "data.a"}])
def test_a_field_is_folded_in_exactly_one_way(definition: dict[str, str]) -> None:
    with pytest.raises(FieldInvalid, match="Name exactly one of last, first, count, rate, min, max, mean, quantile"):
        field(**definition)


@pytest.mark.parametrize(
    ("window", "said"),
    [
        ({"window": "19ms"}, "a window of 19ms is too short; Make it 20ms or longer"),
        ({"window": "0s"}, "a window of 0s is too short"),
        (
            {"window": "1m", "lateness": "2m"},
            "an event that is 2m late is older than the window of 1m and never",
        ),
    ],
)
def test_a_window_that_cannot_be_kept_is_refused(window: dict[str, str], said: str) -> None:
    with pytest.raises(FieldInvalid, match=said):
        field(count=window)
