"""Rules that time moves: waits that end by a tick, silence, rates, and how often a rule may speak."""

import pytest
from msgspec.structs import replace

from agents.rules import Rule
from control_plane.loop.arrival import Arrival
from control_plane.loop.step import Done, step
from control_plane.sdk import Context
from tests import builders
from tests.builders import NOW_MS
from tests.unit.rule_world import COOL, HOT, Subject


class TestForByTick:
    def test_one_word_is_believed_until_another_comes(self) -> None:
        subject = Subject(**{"for": "5s"})
        subject.measure(0, HOT)

        assert subject.due_ms() == 5_000
        assert subject.tick(4_999) == []
        (decision,) = subject.tick(5_000)
        assert decision.subject == "service/web-1"
        assert subject.state() == "firing"

    def test_where_words_come_the_next_one_is_waited_for(self) -> None:
        """A spike that heals itself: the last bad sample before the wait is over, the first good one right after it."""
        subject = Subject(**{"for": "600ms"})
        for at_ms in (0, 200, 400):
            subject.measure(at_ms, HOT)

        assert subject.tick(600) == []
        assert subject.measure(605, COOL) == []
        assert subject.tick(5_000) == []
        assert subject.state() == "inactive"

    def test_when_they_end_the_last_one_counts(self) -> None:
        subject = Subject(**{"for": "600ms"})
        for at_ms in (0, 200, 400):
            subject.measure(at_ms, HOT)

        assert [len(subject.tick(at_ms)) for at_ms in (600, 999, 1_000)] == [0, 0, 1]

    def test_a_word_that_is_too_old_for_the_intent_is_no_reason_to_act(self) -> None:
        subject = Subject(context_age_max="3s", **{"for": "5s"})
        subject.measure(0, HOT)

        assert subject.tick(5_000) == []
        assert subject.due_ms() is None
        assert len(subject.measure(6_000, HOT)) == 1

    def test_a_tick_that_is_late_finds_it_too_old_as_well(self) -> None:
        subject = Subject(context_age_max="10s", **{"for": "5s"})
        subject.measure(0, HOT)

        assert subject.tick(10_001) == []

    def test_it_says_why_with_the_values_of_the_last_word(self) -> None:
        subject = Subject(**{"for": "5s"})
        subject.measure(0, HOT)
        subject.measure(1_000, 444.0)

        (decision,) = [*subject.tick(5_000), *subject.tick(6_000)]

        assert decision.because == "rss 444 is too much"

    def test_a_tick_that_is_in_the_log_twice_makes_no_second_decision_of_the_same_id(self) -> None:
        subject = Subject(**{"for": "5s"})
        subject.measure(0, HOT)
        (first,) = subject.tick(5_000)
        subject.measure(6_000, COOL)
        subject.measure(7_000, HOT)

        (second,) = subject.tick(12_000)

        assert first.lineage.causation_id != second.lineage.causation_id
        assert first.lineage.message_id != second.lineage.message_id


class TestCountInEventTime:
    def test_what_comes_late_counts_where_it_happened(self) -> None:
        subject = Subject(count={"min": 3, "window": "10s"})
        subject.measure(0, HOT)
        subject.measure(20_000, HOT)
        assert subject.measure(21_000, HOT, late_ms=16_000) == []

        assert len(subject.measure(22_000, HOT, late_ms=8_000)) == 0
        assert len(subject.measure(23_000, HOT, late_ms=8_000)) == 1

    @pytest.mark.parametrize(("late_ms", "proposals"), [(9_999, 1), (10_000, 0)])
    def test_late_or_not_the_edge_is_the_same(self, late_ms: int, proposals: int) -> None:
        subject = Subject(count={"min": 2, "window": "10s"})
        subject.measure(20_000, HOT)

        assert len(subject.measure(20_000, HOT, late_ms=late_ms)) == proposals

    def test_a_source_whose_clock_is_behind_is_counted_all_the_same(self) -> None:
        subject = Subject(count={"min": 3, "window": "10s"})

        assert [len(subject.measure(at_ms, HOT, late_ms=30_000)) for at_ms in (0, 4_000, 8_000)] == [0, 0, 1]

    def test_it_fires_until_the_window_moves_on(self) -> None:
        subject = Subject(count={"min": 2, "window": "10s"})
        subject.measure(0, HOT)
        subject.measure(4_000, HOT)

        subject.measure(9_999, COOL)
        assert subject.state() == "firing"
        assert subject.due_ms() == 10_000
        subject.tick(10_000)
        assert subject.state() == "inactive"

    def test_the_wait_for_it_to_last_ends_with_the_window_too(self) -> None:
        subject = Subject(count={"min": 2, "window": "10s"}, **{"for": "8s"})
        subject.measure(0, HOT)
        subject.measure(4_000, HOT)

        assert subject.tick(12_000) == []
        assert subject.state() == "inactive"


class TestRate:
    def test_more_than_so_many_in_the_window_is_too_much(self) -> None:
        subject = Subject(rate={"above": 2, "per": "10s", "window": "20s"})

        proposals = [len(subject.measure(at_ms, HOT)) for at_ms in (0, 1_000, 2_000, 3_000, 4_000)]

        assert proposals == [0, 0, 0, 0, 1]

    def test_a_window_that_is_not_named_is_as_long_as_the_rate_says(self) -> None:
        subject = Subject(rate={"above": 1, "per": "10s"})

        assert [len(subject.measure(at_ms, HOT)) for at_ms in (0, 20_000, 21_000)] == [0, 0, 1]

    def test_many_matches_take_no_more_room_than_few(self) -> None:
        subject = Subject(rate={"above": 100_000, "per": "20s"})
        for at_ms in range(0, 20_000, 25):
            subject.measure(at_ms, HOT)

        assert len(subject.row.own["memory_guard"]["kept"]["buckets"]) <= 21

    def test_fewer_than_so_many_are_noticed_without_an_event(self) -> None:
        subject = Subject(rate={"below": 3, "per": "10s"})
        for at_ms in (0, 4_000, 8_000, 12_000, 13_000):
            subject.measure(at_ms, HOT)
        subject.hear(18_000)

        assert [len(subject.tick(at_ms)) for at_ms in (10_000, 17_999, 18_000, 18_500)] == [0, 0, 1, 0]
        assert subject.state() == "firing"

    def test_enough_of_them_end_it(self) -> None:
        subject = Subject(rate={"below": 2, "per": "10s"})
        subject.measure(0, HOT)
        subject.hear(11_000)
        assert len(subject.tick(11_000)) == 1

        subject.measure(12_000, HOT)
        assert subject.state() == "firing"
        subject.measure(13_000, HOT)
        assert subject.state() == "inactive"

    def test_nothing_is_slow_before_it_was_watched_for_a_window(self) -> None:
        subject = Subject(rate={"below": 2, "per": "10s"})
        subject.measure(0, HOT)
        subject.hear(9_999)

        assert subject.tick(9_999) == []

    def test_what_comes_back_with_its_source_is_not_slow(self) -> None:
        subject = Subject(rate={"below": 2, "per": "10s"})
        subject.measure(0, HOT)
        assert subject.tick(11_000) == []  # Its source is silent as well.

        subject.measure(60_000, HOT)
        assert subject.tick(62_500) == []


class TestAbsent:
    def test_silence_counts_from_the_last_match_on(self) -> None:
        subject = Subject(absent="30s", propose={"because": "nothing of {subject.name}"})
        subject.measure(0, HOT)
        subject.measure(10_000, HOT)
        subject.hear(39_000)

        assert subject.tick(39_999) == []
        (decision,) = subject.tick(40_000)
        assert decision.because == "nothing of web-1"

    def test_what_does_not_match_is_silence(self) -> None:
        subject = Subject(absent="30s")
        subject.measure(0, HOT)
        subject.measure(29_000, COOL)

        assert len(subject.tick(30_000)) == 1

    def test_nothing_is_absent_that_was_never_there(self) -> None:
        subject = Subject(absent="30s")
        subject.measure(0, COOL)

        assert subject.due_ms() is None

    def test_it_is_over_when_it_comes_again(self) -> None:
        subject = Subject(absent="30s")
        subject.measure(0, HOT)
        subject.hear(30_000)
        subject.tick(30_000)

        subject.measure(31_000, HOT)

        assert subject.state() == "inactive"
        assert subject.due_ms() == 61_000

    def test_a_dead_intake_is_not_a_dead_world(self) -> None:
        subject = Subject(absent="30s")
        subject.measure(0, HOT)

        assert subject.tick(30_000) == []
        assert subject.due_ms() == 37_500
        subject.hear(36_000)
        assert len(subject.tick(37_500)) == 1

    def test_another_source_says_nothing_about_this_one(self) -> None:
        subject = Subject(absent="30s")
        subject.measure(0, HOT)
        subject.hear(29_000, source="another")

        assert subject.tick(30_000) == []

    @pytest.mark.parametrize(("heard_ms", "proposals"), [(15_000, 1), (14_999, 0)])
    def test_the_source_must_have_been_heard_in_the_last_half_of_the_silence(
        self, heard_ms: int, proposals: int
    ) -> None:
        subject = Subject(absent="30s")
        subject.measure(0, HOT)
        subject.hear(heard_ms)

        assert len(subject.tick(30_000)) == proposals

    def test_it_repeats_by_itself_while_nothing_is_live(self) -> None:
        subject = Subject(absent="30s", repeat_interval="1m")
        subject.measure(0, HOT)
        subject.hear(30_000)
        (first,) = subject.tick(30_000)
        subject.row = replace(subject.row, live=(builders.live_command(first),))
        subject.hear(90_000)

        assert subject.tick(90_000) == []
        subject.row = replace(subject.row, live=())
        assert subject.due_ms() == 105_000
        subject.hear(105_000)
        assert len(subject.tick(105_000)) == 1

    def test_a_timer_is_not_moved_on_with_every_event(self) -> None:
        """Otherwise each of them would leave one behind for whoever keeps the time."""
        subject = Subject(absent="30s")
        for at_ms in range(0, 30_000, 1_000):
            subject.measure(at_ms, HOT)
            assert subject.due_ms() == 30_000

        assert subject.tick(30_000) == []
        assert subject.due_ms() == 59_000

    def test_a_subject_that_is_retired_is_not_absent(self) -> None:
        subject = Subject(absent="30s")
        subject.measure(0, HOT)

        subject._take(builders.event("subject.retired", message_id="bye"), 1_000)

        assert subject.due_ms() is None
        assert subject.row.own == {}


class TestOnceWithin:
    def test_however_often_it_starts_to_fire(self) -> None:
        subject = Subject(once_within="1m")

        proposals = [
            len(subject.measure(at_ms, rss))
            for at_ms, rss in ((0, HOT), (1_000, COOL), (2_000, HOT), (3_000, COOL), (60_000, HOT))
        ]

        assert proposals == [1, 0, 0, 0, 1]

    def test_a_start_in_between_is_made_up_for_by_the_first_match_afterwards(self) -> None:
        subject = Subject(once_within="1m")

        proposals = [
            len(subject.measure(at_ms, rss))
            for at_ms, rss in ((0, HOT), (1_000, COOL), (2_000, HOT), (59_999, HOT), (60_000, HOT), (60_001, HOT))
        ]

        assert proposals == [1, 0, 0, 0, 1, 0]

    def test_what_is_over_is_forgotten(self) -> None:
        subject = Subject(once_within="1m")
        subject.measure(0, HOT)
        subject.measure(1_000, COOL)
        assert subject.due_ms() == 60_000

        subject.tick(60_000)

        assert subject.row.own == {}
        assert subject.row.timers == {}


class TestKeepFiringFor:
    def test_it_ends_by_itself(self) -> None:
        subject = Subject(keep_firing_for="10s")
        subject.measure(0, HOT)
        subject.measure(2_000, COOL)

        assert subject.due_ms() == 10_000
        subject.tick(10_000)
        assert subject.row.own == {}

    def test_a_match_after_its_end_starts_it_again_though_no_tick_came_between(self) -> None:
        subject = Subject(keep_firing_for="10s")

        assert [len(subject.measure(at_ms, rss)) for at_ms, rss in ((0, HOT), (5_000, COOL), (10_000, HOT))] == [
            1,
            0,
            1,
        ]


def test_a_field_that_is_missing_or_of_another_type_is_counted() -> None:
    subject = Subject()

    for number, rss in enumerate((None, "much", COOL)):
        assert subject.measure(number, rss) == []

    assert subject.missed == 2


def test_a_rule_that_is_no_longer_in_force_leaves_nothing_behind() -> None:
    subject = Subject(**{"for": "5s"})
    subject.measure(0, HOT)
    subject.controls = builders.controls(builders.intent(), builders.row())

    assert subject.tick(5_000) == []

    assert subject.row.own == {}
    assert subject.row.timers == {}


def test_a_rule_that_fails_on_a_tick_is_not_woken_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    subject = Subject(**{"for": "5s"})
    subject.measure(0, HOT)

    def broken(rule: Rule, context: Context) -> None:
        raise RuntimeError("out of order")

    monkeypatch.setattr(Rule, "remember", broken)
    arrival = Arrival(builders.tick(at_ms=NOW_MS + 5_000), 9, NOW_MS + 5_000)
    done = step(subject.controls, subject.row, arrival)

    assert isinstance(done, Done)
    assert [failure.reason.code for failure in done.failures] == ["agent_failed"]
    assert done.row.due_ms() is None
    assert done.row.own == subject.row.own


def test_what_another_version_of_a_rule_kept_in_another_form_is_begun_anew() -> None:
    subject = Subject(count={"min": 2, "window": "10s"})
    subject.measure(0, HOT)
    subject.controls = Subject(rate={"above": 1, "per": "10s"}).controls

    assert subject.measure(1_000, HOT) == []
    assert len(subject.measure(2_000, HOT)) == 1
