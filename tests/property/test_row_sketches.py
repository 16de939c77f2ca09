"""Where a row shows an estimate: how far from the truth it may be, and when it is exact again."""

import math
from collections.abc import Callable, Iterable
from hashlib import blake2b
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from state.projections import Projection
from state.projections.distinct import DISTINCT_EXACT_MAX
from state.projections.histogram import EMPTY, at_share, counted, joined, key_of
from state.projections.quantile import HISTOGRAMS_BYTES_MAX, QUANTILE_EXACT_MAX
from state.projections.windows import CELLS_PER_WINDOW
from tests.unit.row_parts import field

TYPE = "parcel.scanned"
WINDOW_MS = 60_000
CELL_MS = WINDOW_MS // CELLS_PER_WINDOW
STANDARD_ERROR = 1 / math.sqrt(DISTINCT_EXACT_MAX)
PERCENTS = (0, 1, 25, 50, 90, 95, 99, 100)

SAMPLES: dict[str, Callable[[Random], float]] = {
    "latencies": lambda random: random.lognormvariate(4, 1),
    "within a decade": lambda random: 10 ** random.random(),
    "around zero": lambda random: random.gauss(0, 100),
    "negative": lambda random: -random.expovariate(0.01),
    "mostly zero": lambda random: random.choice((0.0, 0.0, 0.0, 7.0)),
    "integers": lambda random: float(random.randrange(1_000_000)),
    "far apart": lambda random: random.choice((1e-90, 1.0, 1e90)),
}


class Sketch:
    """A part with one field `it` over a minute, and every event that it folded."""

    def __init__(self, kind: str) -> None:
        over = {"of": "data.v", "window": "1m"}
        if kind == "quantile":
            fields = [field(f"p{p}", quantile={**over, "q": p / 100}) for p in PERCENTS]
        else:
            fields = [field("it", **{kind: over})]
        self.part = Projection(name="parcel", on=(TYPE,), fields=fields)
        self.kept: Any = None
        self.sent: list[tuple[int, Any]] = []
        self.now_ms = 0

    def send(self, values: Iterable[Any], *, every_ms: int = 0, late_ms: Callable[[], int] = lambda: 0) -> "Sketch":
        for value in values:
            self.now_ms += every_ms
            occurred_ms = self.now_ms - late_ms()
            self.sent.append((occurred_ms, value))
            self.kept = self.part.fold(self.kept, TYPE, {"v": value}, occurred_ms, self.now_ms)
        return self

    def wait(self, ms: int) -> "Sketch":
        self.now_ms += ms
        return self

    @property
    def inside(self) -> list[Any]:
        """What the window holds, counted by hand."""
        begins_ms = (self.now_ms - WINDOW_MS) // CELL_MS * CELL_MS
        return [value for occurred_ms, value in self.sent if occurred_ms >= begins_ms]

    @property
    def seen(self) -> dict[str, Any]:
        return self.part.view(self.kept, self.now_ms)

    def worst_error(self) -> float:
        """Of all quantiles, the largest relative error against the nearest rank."""
        ordered = sorted(self.inside)
        exact = {p: ordered[max(1, -(-len(ordered) * p // 100)) - 1] for p in PERCENTS}
        return max(relative_error(self.seen[f"p{p}"], exact[p]) for p in PERCENTS)


def relative_error(found: float, exact: float) -> float:
    return abs(found - exact) / abs(exact) if exact else abs(found)


class TestQuantiles:
    @pytest.mark.parametrize("sample", SAMPLES.values(), ids=list(SAMPLES))
    def test_few_numbers_are_exact(self, sample: Callable[[Random], float]) -> None:
        random = Random(1)
        sketch = Sketch("quantile").send((sample(random) for _ in range(QUANTILE_EXACT_MAX)), every_ms=200)

        assert sketch.worst_error() == 0.0

    def test_few_at_a_time_are_exact_for_as_long_as_they_come(self) -> None:
        random = Random(6)
        sketch = Sketch("quantile")

        for _ in range(40):
            sketch.send((random.random() for _ in range(QUANTILE_EXACT_MAX // 2)), every_ms=260)
            assert sketch.worst_error() == 0.0

    @pytest.mark.parametrize("sample", SAMPLES.values(), ids=list(SAMPLES))
    @pytest.mark.parametrize("every_ms", [1, 20, 100])
    def test_many_numbers_are_within_one_percent(self, sample: Callable[[Random], float], every_ms: int) -> None:
        """But for numbers that fill the bins of four decades in every twentieth: those are within two."""
        random = Random(every_ms)
        sketch = Sketch("quantile").send((sample(random) for _ in range(20_000)), every_ms=every_ms)

        wide = sample in (SAMPLES["latencies"], SAMPLES["around zero"], SAMPLES["negative"], SAMPLES["integers"])
        assert sketch.worst_error() <= (0.02 if wide and every_ms == 1 else 0.01)

    @pytest.mark.parametrize(("decades", "error"), [(1, 0.01), (2, 0.02), (4, 0.04), (8, 0.08)])
    def test_however_many_there_are_their_spread_bounds_the_error(self, decades: int, error: float) -> None:
        """The worst case: in every twentieth a number in every bin, and more than one byte can count in one of them."""
        bins = 117 * decades
        spread = [10 ** (decades * step / bins) for step in range(bins)]
        sketch = Sketch("quantile")
        for _ in range(CELLS_PER_WINDOW + 1):
            sketch.send(spread).send([spread[0]] * 300).wait(CELL_MS)
        sketch.wait(-CELL_MS)

        assert sketch.worst_error() <= error

    def test_after_a_storm_it_is_exact_again_once_the_storm_has_left_the_window(self) -> None:
        random = Random(2)
        sketch = Sketch("quantile").send((random.lognormvariate(0, 9) for _ in range(30_000)), every_ms=1)
        assert sketch.worst_error() > 0.0

        sketch.send((random.lognormvariate(0, 9) for _ in range(150)), every_ms=WINDOW_MS // 100)

        assert sketch.worst_error() == 0.0

    def test_late_and_shuffled_numbers_are_taken_out_again_from_where_they_were_put(self) -> None:
        random = Random(3)
        sketch = Sketch("quantile")
        for _ in range(40):
            values = (random.gauss(50, 20) for _ in range(150))
            sketch.send(values, every_ms=200, late_ms=lambda: random.randrange(WINDOW_MS))
            assert sketch.worst_error() <= 0.01
            whole, cells = sketch.kept[3][1:]
            together = [cell for cell in cells[1:] if cell is not None]
            assert whole == joined(together, max(cell[0] for cell in together))

    def test_numbers_that_agree_in_nothing_take_no_more_bytes_than_they_may(self) -> None:
        random = Random(4)
        sketch = Sketch("quantile")

        for _ in range(3_000):
            sketch.send([random.choice((-1, 1)) * 10 ** random.uniform(-100, 100)], every_ms=random.randrange(90))
            assert len(msgspec.msgpack.encode(sketch.kept)) <= HISTOGRAMS_BYTES_MAX + 400

    @given(
        st.lists(st.floats(-1e100, 1e100).map(lambda number: number + 0.0), min_size=1, max_size=80),
        st.integers(1, 5),
    )
    @settings(max_examples=300, deadline=None)
    def test_a_histogram_holds_each_number_to_within_its_levels_error(self, numbers: list[float], level: int) -> None:
        histogram = EMPTY
        for number in numbers:
            histogram = counted(histogram, key_of(number, 0))
        straight: Any = [level, b"", b""]
        for number in numbers:
            straight = counted(straight, key_of(number, level))

        coarse = joined([histogram], level)

        assert coarse == straight, "in one step or in many, each number is in the same bin"
        for rank, number in enumerate(sorted(numbers), start=1):
            found = at_share(coarse, rank, len(numbers))
            assert found is not None
            exact = number if abs(number) >= 1e-100 else 0.0
            assert relative_error(found, exact) <= 0.01 * 2 ** (level - 1)

    def test_a_count_grows_over_every_width(self) -> None:
        histogram = counted(EMPTY, 1.0)
        for more in (254, 1, 65_000, 279, 1, 2**33):
            histogram = counted(histogram, 1.0, more)
            histogram = counted(histogram, 2.0)

        assert at_share(histogram, 1, 2) == 1.0
        left = counted(histogram, 1.0, -(1 + 254 + 1 + 65_000 + 279 + 1 + 2**33))
        assert at_share(left, 0, 1) == 2.0


class TestDistinct:
    @pytest.mark.parametrize("repeats", [1, 3])
    def test_few_values_are_exact_however_often_they_come(self, repeats: int) -> None:
        values = [f"user-{number}" for number in range(DISTINCT_EXACT_MAX)] * repeats
        Random(1).shuffle(values)

        assert Sketch("distinct").send(values, every_ms=50).seen["it"] == DISTINCT_EXACT_MAX

    def test_what_is_a_value_of_its_own(self) -> None:
        same = [1, 1.0, 10**18, 1e18]
        others = ["1", "", True, False, "true", 1.5, -1, 0, -0.0, 1e99]

        assert Sketch("distinct").send([*same, *others, *same, *others]).seen["it"] == 2 + 9

    @pytest.mark.parametrize("different", [300, 1_000, 5_000, 40_000])
    def test_many_values_are_estimated(self, different: int) -> None:
        errors = []
        for run in range(5):
            sketch = Sketch("distinct")
            sketch.send((f"{run}/{number}" for number in range(different)), every_ms=WINDOW_MS // different)
            errors.append(sketch.seen["it"] / len(set(sketch.inside)) - 1)

        assert max(map(abs, errors)) <= 4 * STANDARD_ERROR, errors
        assert abs(sum(errors) / len(errors)) <= 2 * STANDARD_ERROR, errors

    def test_values_that_come_again_late_or_not_are_not_counted_twice(self) -> None:
        random = Random(5)
        sketch = Sketch("distinct")

        for _ in range(60):
            values = [f"user-{random.randrange(2_000)}" for _ in range(300)]
            sketch.send(values, every_ms=20, late_ms=lambda: random.choice((0, 0, random.randrange(WINDOW_MS))))
            assert abs(sketch.seen["it"] / len(set(sketch.inside)) - 1) <= 4 * STANDARD_ERROR

    def test_what_an_estimate_no_longer_holds_is_not_counted_again_when_it_comes_late(self) -> None:
        """Of a burst only a sample is kept: an older cell that took all of it in would count it a second time."""
        burst = [f"burst-{number}" for number in range(5_000)]
        sketch = Sketch("distinct").send(f"old-{number}" for number in range(100)).wait(WINDOW_MS // 2).send(burst)
        assert abs(sketch.seen["it"] / 5_100 - 1) <= 4 * STANDARD_ERROR

        for late_ms in (WINDOW_MS // 4, WINDOW_MS // 2):
            for value in burst:
                sketch.send([value], late_ms=lambda late_ms=late_ms: late_ms)
                levels = [cell[1] for cell in sketch.kept[3][1:] if cell is not None]
                assert levels == sorted(levels, reverse=True), "an older cell is never finer than a newer one"
            assert abs(sketch.seen["it"] / 5_100 - 1) <= 4 * STANDARD_ERROR

    def test_values_leave_the_window_when_they_were_last_seen_too_long_ago(self) -> None:
        sketch = Sketch("distinct").send(["a", "b"]).wait(WINDOW_MS // 2).send(["b", "c"])

        assert sketch.seen["it"] == 3
        assert sketch.wait(WINDOW_MS // 2 + CELL_MS).seen["it"] == 2
        assert sketch.wait(WINDOW_MS // 2).seen["it"] == 0

    def test_after_a_storm_the_count_is_exact_again_once_the_storm_has_left_the_window(self) -> None:
        sketch = Sketch("distinct").send((f"{number}" for number in range(50_000)), every_ms=1)
        assert sketch.seen["it"] != len(set(sketch.inside))

        sketch.send((f"{number}" for number in range(200)), every_ms=WINDOW_MS // 150)

        assert sketch.seen["it"] == len(set(sketch.inside))

    def test_values_chosen_for_their_hash_cannot_make_more_of_themselves_than_there_were_events(self) -> None:
        """Who knows the hash finds values that are kept at every level, and would each stand for thousands."""
        chosen = [
            value
            for value in map(str, range(600_000))
            if blake2b(f"s{value}".encode(), digest_size=6).digest() < b"\x00\x20"
        ]
        assert len(chosen) > DISTINCT_EXACT_MAX

        assert Sketch("distinct").send(chosen).seen["it"] <= len(chosen)


def test_the_same_events_leave_the_same_bytes_on_every_machine() -> None:
    """Bytes that were written down once: they depend on no hash seed, no library of logarithms and no drawing."""
    random = Random(7)
    digests = []
    for kind in ("distinct", "quantile", "mean"):
        values = (random.getrandbits(random.randrange(1, 60)) / 64 for _ in range(8_000))
        sketch = Sketch(kind).send(values, every_ms=7)
        digests.append(blake2b(msgspec.msgpack.encode(sketch.kept), digest_size=4).hexdigest())

    assert digests == ["e6f05496", "c239c2c9", "3a6ee2cb"]
