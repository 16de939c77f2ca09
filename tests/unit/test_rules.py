"""Rules over time: inactive, pending, firing; each duration at its edge, and the same when an event comes twice."""

from typing import Any

import pytest
from msgspec.structs import replace

from tests import builders
from tests.unit.rule_world import COOL, HOT, Subject


def test_a_rule_proposes_when_it_starts_to_fire_and_not_once_per_event() -> None:
    subject = Subject()

    assert [len(subject.measure(at_ms, HOT)) for at_ms in (0, 10, 20)] == [1, 0, 0]
    assert subject.state() == "firing"


def test_a_rule_that_stopped_firing_proposes_again_when_it_starts_again() -> None:
    subject = Subject()

    proposals = [len(subject.measure(at_ms, rss)) for at_ms, rss in ((0, HOT), (10, COOL), (20, HOT))]

    assert proposals == [1, 0, 1]


def test_a_rule_says_why_with_the_values_of_the_event() -> None:
    subject = Subject(propose={"because": "rss {data.rss} of {subject.name}, {data.unheard_of} more"})

    (decision,) = subject.measure(0, HOT)

    assert decision.because == "rss 500 of web-1, ? more"


def test_an_inactive_rule_leaves_nothing_in_the_row() -> None:
    subject = Subject()

    subject.measure(0, COOL)
    assert subject.row.own == {}
    subject.measure(10, HOT)
    assert subject.row.own
    subject.measure(20, COOL)
    assert subject.row.own == {}


def test_a_rule_on_a_missing_field_does_not_match() -> None:
    subject = Subject(when="data.unheard_of > 1.0")

    assert subject.measure(0, HOT) == []


class TestFor:
    def test_it_is_pending_until_the_very_millisecond(self) -> None:
        subject = Subject(**{"for": "5s"})

        assert subject.measure(0, HOT) == []
        assert subject.measure(4_999, HOT) == []
        assert subject.state() == "pending"
        assert len(subject.measure(5_000, HOT)) == 1
        assert subject.state() == "firing"

    def test_one_event_that_does_not_match_begins_it_anew(self) -> None:
        subject = Subject(**{"for": "5s"})

        proposals = [
            len(subject.measure(at_ms, rss))
            for at_ms, rss in ((0, HOT), (4_000, COOL), (4_001, HOT), (5_000, HOT), (9_000, HOT), (9_001, HOT))
        ]

        assert proposals == [0, 0, 0, 0, 0, 1]

    def test_a_clock_that_goes_back_does_not_shorten_it(self) -> None:
        subject = Subject(**{"for": "5s"})

        subject.measure(0, HOT)
        subject.measure(-60_000, HOT)

        assert subject.measure(4_999, HOT) == []
        assert len(subject.measure(5_000, HOT)) == 1


class TestCount:
    def test_it_takes_as_many_matches_as_it_says(self) -> None:
        subject = Subject(count={"min": 3, "window": "10s"})

        assert [len(subject.measure(at_ms, HOT)) for at_ms in (0, 1, 2)] == [0, 0, 1]

    @pytest.mark.parametrize(("last_ms", "proposals"), [(9_999, 1), (10_000, 0)])
    def test_a_match_leaves_the_window_at_its_very_end(self, last_ms: int, proposals: int) -> None:
        subject = Subject(count={"min": 3, "window": "10s"})
        subject.measure(0, HOT)
        subject.measure(5_000, HOT)

        assert len(subject.measure(last_ms, HOT)) == proposals

    def test_events_between_that_do_not_match_take_nothing_away(self) -> None:
        subject = Subject(count={"min": 3, "window": "10s"})

        proposals = [len(subject.measure(at_ms, rss)) for at_ms, rss in ((0, HOT), (1, COOL), (2, HOT), (3, HOT))]

        assert proposals == [0, 0, 0, 1]

    def test_a_record_that_is_in_the_log_twice_counts_once(self) -> None:
        subject = Subject(count={"min": 3, "window": "10s"})

        assert subject.measure(0, HOT, twice=True) == []
        assert subject.measure(1, HOT, twice=True) == []
        assert len(subject.measure(2, HOT, twice=True)) == 1

    def test_matches_are_forgotten_when_nothing_matches_for_the_window(self) -> None:
        subject = Subject(count={"min": 3, "window": "10s"})
        subject.measure(0, HOT)

        subject.measure(9_999, COOL)
        assert subject.row.own
        subject.measure(10_000, COOL)
        assert subject.row.own == {}

    def test_for_counts_from_when_there_were_enough(self) -> None:
        subject = Subject(count={"min": 2, "window": "10s"}, **{"for": "3s"})

        proposals = [len(subject.measure(at_ms, HOT)) for at_ms in (0, 1_000, 3_999, 4_000)]

        assert proposals == [0, 0, 0, 1]


class TestRepeatInterval:
    @pytest.mark.parametrize(("again_ms", "proposals"), [(59_999, 0), (60_000, 1)])
    def test_it_proposes_again_at_the_very_end_of_the_interval(self, again_ms: int, proposals: int) -> None:
        subject = Subject(repeat_interval="1m")
        subject.measure(0, HOT)

        assert len(subject.measure(again_ms, HOT)) == proposals

    def test_a_rule_that_names_none_repeats_after_the_cool_down_of_its_intent(self) -> None:
        subject = Subject(limits={"cooldown": "30s"})

        assert [len(subject.measure(at_ms, HOT)) for at_ms in (0, 29_999, 30_000)] == [1, 0, 1]

    def test_without_a_cool_down_it_does_not_repeat(self) -> None:
        subject = Subject()

        assert [len(subject.measure(at_ms, HOT)) for at_ms in (0, 1, 3_600_000)] == [1, 0, 0]

    def test_it_counts_from_the_last_proposal(self) -> None:
        subject = Subject(repeat_interval="1m")

        assert [len(subject.measure(at_ms, HOT)) for at_ms in (0, 60_000, 119_999, 120_000)] == [1, 1, 0, 1]

    def test_it_waits_while_something_is_live(self) -> None:
        subject = Subject(repeat_interval="1m")
        (first,) = subject.measure(0, HOT)
        subject.row = replace(subject.row, live=(builders.live_command(first),))

        assert subject.measure(60_000, HOT) == []
        subject.row = replace(subject.row, live=())
        assert len(subject.measure(60_001, HOT)) == 1


class TestKeepFiringFor:
    @pytest.mark.parametrize(("cool_ms", "state"), [(10_999, "firing"), (11_000, "inactive")])
    def test_it_fires_on_without_a_match_up_to_the_very_end(self, cool_ms: int, state: str) -> None:
        subject = Subject(keep_firing_for="10s")
        subject.measure(0, HOT)
        subject.measure(1_000, HOT)

        subject.measure(cool_ms, COOL)

        assert subject.state() == state

    def test_a_match_in_that_time_does_not_start_it_again(self) -> None:
        subject = Subject(keep_firing_for="10s")

        proposals = [len(subject.measure(at_ms, rss)) for at_ms, rss in ((0, HOT), (5_000, COOL), (6_000, HOT))]

        assert proposals == [1, 0, 0]


@pytest.mark.parametrize(
    "rule",
    [{}, {"for": "2s"}, {"count": {"min": 2, "window": "5s"}}, {"repeat_interval": "2s"}, {"keep_firing_for": "2s"}],
    ids=["plain", "for", "count", "repeat", "keep"],
)
def test_events_that_come_twice_change_nothing(rule: dict[str, Any]) -> None:
    once, twice = Subject(**rule), Subject(**rule)

    for number, rss in enumerate([HOT, HOT, COOL, HOT, HOT, HOT, COOL, COOL, HOT]):
        said_once = once.measure(number * 1_000, rss)
        said_twice = twice.measure(number * 1_000, rss, twice=True)
        assert [found.because for found in said_twice] == [found.because for found in said_once]

    assert twice.row.own == once.row.own
