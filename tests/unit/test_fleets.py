"""Which subjects count together, and when a member counts as healthy."""

import pytest

from control_plane.catalogue import Controls
from control_plane.loop.arrival import Arrival
from control_plane.loop.step import Done, step
from state.rows import Row
from tests import builders
from tests.builders import NOW_MS, WEB_1

WEB = builders.fleet(members='subject.kind == "service" && subject.name.startsWith("web-")')
WELL = builders.fleet("well", healthy="rows.health.rss < 400.0")
CONTROLS = builders.controls(builders.row(), WEB, WELL)
(REVISION,) = (fleet.revision for fleet in CONTROLS.fleets.all if fleet.name == "well")


def stepped(row: Row, *events: builders.Event, controls: Controls = CONTROLS) -> Row:
    for number, event in enumerate(events):
        done = step(controls, row, Arrival(event, row.applied + 1 + number, NOW_MS))
        assert isinstance(done, Done)
        row = done.row
    return row


NEW = Row(subject=WEB_1)


def measured(rss: float, message_id: str = "e1") -> builders.Event:
    return builders.event(data={"rss": rss}, message_id=message_id)


@pytest.mark.parametrize(
    ("subject", "fleets"),
    [
        (WEB_1, ["web", "well"]),
        ("service/db-1", ["well"]),
        ("door/web-1", []),
        ("service/", []),
        ("service", []),
        ("", []),
        ("*", []),
        ("service/*", ["well"]),
    ],
)
def test_a_subject_is_in_the_fleets_whose_expression_holds_on_it(subject: str, fleets: list[str]) -> None:
    assert [fleet.name for fleet in CONTROLS.fleets.of(subject)] == fleets


def test_an_expression_that_misses_has_no_members() -> None:
    found = builders.controls(builders.fleet(members="subject.name > 3"))

    assert found.fleets.of(WEB_1) == ()


def test_a_subject_counts_from_its_registration_to_its_retirement() -> None:
    assert stepped(NEW, measured(1.0)).standing is None

    registered = stepped(NEW, builders.registered())
    assert registered.registered
    assert stepped(registered, builders.retired()).standing is None
    assert stepped(registered, builders.retired(), builders.registered(message_id="again")).standing is not None


def test_registering_twice_counts_once() -> None:
    row = stepped(NEW, builders.registered(), builders.registered(message_id="again"))

    assert row.standing == stepped(NEW, builders.registered()).standing


def test_without_a_condition_every_member_is_healthy_and_with_one_only_those_on_which_it_holds() -> None:
    sick, well = (stepped(NEW, builders.registered(), measured(rss)) for rss in (400.0, 399.0))
    web, condition = CONTROLS.fleets.of(WEB_1)

    assert web.counts(sick.standing) == web.counts(well.standing) == (1, 1, 0, 0)
    assert condition.counts(well.standing) == (1, 1, 0, 0)
    assert condition.counts(sick.standing) == (1, 0, 0, 1)


def test_health_that_is_not_known_is_none() -> None:
    unheard = stepped(NEW, builders.registered())
    nonsense = stepped(unheard, builders.event(data={"rss": "much"}))

    assert unheard.healthy == nonsense.healthy == ()


def test_health_that_was_known_before_the_registration_counts_from_it_on() -> None:
    assert stepped(NEW, measured(1.0), builders.registered()).healthy == (REVISION,)


def test_health_is_judged_when_a_part_that_it_reads_is_fed_and_not_otherwise() -> None:
    assert CONTROLS.fleets.judged_on == {"service.measured", "subject.registered"}
    assert builders.controls(builders.row(), WEB).fleets.judged_on == frozenset()


def test_health_under_another_definition_does_not_count() -> None:
    healthy = stepped(NEW, builders.registered(), measured(1.0))
    changed = builders.controls(builders.row(), builders.fleet("well", healthy="rows.health.rss < 500.0"))
    (fleet,) = changed.fleets.of(WEB_1)

    assert fleet.counts(healthy.standing) == (1, 0, 0, 1)

    again = stepped(healthy, measured(450.0, "e2"), controls=changed)
    assert fleet.counts(again.standing) == (1, 1, 0, 0)


def test_a_member_with_a_live_command_is_in_flight_and_down() -> None:
    controls = builders.controls(builders.intent(), builders.row(), builders.rule(), WEB)
    row = stepped(NEW, builders.registered())
    asked = step(controls, row, Arrival(measured(500.0), 1, NOW_MS))
    assert not isinstance(asked, Done)
    done = asked.resume({question.id: builders.allow(question) for question in asked.questions})
    assert isinstance(done, Done)
    (fleet,) = controls.fleets.of(WEB_1)

    assert fleet.counts(done.row.standing) == (1, 1, 1, 1)
