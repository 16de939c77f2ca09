"""What rules cost an event that they do not match: nothing on other types, next to nothing on its own."""

from control_plane.catalogue import Controls
from tests import builders
from tests.bench import rules as bench

EVENT_US_MAX = 200.0
"""5,000 events a second. Measured are 15 to 30; it is the thread's own time, so that a busy machine adds little."""


def controls(count: int, on: str) -> Controls:
    return bench.controls(count, on, lambda n: f"data.celsius * 2.0 > {1000.0 + n}")


def test_a_hundred_rules_on_one_type_leave_room_for_five_thousand_events_a_second() -> None:
    assert bench.cost_us(controls(100, "machine.measured"), rounds=3) < EVENT_US_MAX


def test_a_thousand_rules_on_other_types_are_not_even_looked_at() -> None:
    event_type = "machine.measured"
    others = controls(1_000, "machine.type_{n}")
    one = builders.controls(builders.intent(), builders.rule(on=event_type, when="data.celsius > 1000.0"))

    assert event_type not in others.listeners
    assert len(one.listeners[event_type].fast) == 1


def test_rules_that_do_not_match_are_not_shown_the_event() -> None:
    audience = controls(100, "machine.measured").listeners["machine.measured"]
    scope = builders.EXPRESSIONS.scope({"data": {"celsius": 501.0}})

    awake, missed = audience.awake({"rule_7": {"state": "pending"}}, scope)

    assert [found.agent.name for found in awake] == ["rule_0", "rule_1", "rule_7"]
    assert missed == 0
