"""The guard on the share of a fleet: what may be down at once, and that nothing is done where nobody knows."""

from typing import Any

import pytest
from msgspec.structs import replace

from control_plane.governance import Case, Peers, limits, peers_of, policy
from control_plane.messages import Context, Reason, Subject
from control_plane.messages.summary import FleetSummary
from state.rows import Row
from tests import builders
from tests.builders import NOW_MS, WEB_1

LIMITED = builders.intent(limits={"fleet_share_max": 0.4})
WEB = builders.fleet(healthy="rows.health.rss < 400.0")
CONTROLS = builders.controls(LIMITED, builders.row(), WEB)
REVISION = CONTROLS.fleets.revisions["web"]
ROW = Row(subject=WEB_1, now_ms=NOW_MS, registered=True, healthy=(REVISION,))


def context() -> Context:
    event = builders.event(data={"rss": 500.0})
    return Context(
        agent="guard",
        agent_version="1.0.0",
        event=event,
        subject=Subject.parse(WEB_1),
        now_ms=NOW_MS,
        rows={},
        ages_ms={},
    )


def case(*peers: Peers, row: Row = ROW, share_max: float = 0.4) -> Case:
    intent = CONTROLS.intents["restart_service"]
    return Case(
        decision=context().propose("restart_service", because="rss is too much"),
        intent=replace(intent, limits=replace(intent.limits, fleet_share_max=share_max)),
        event=context().event,
        subject=Subject.parse(WEB_1),
        row=row,
        now_ms=NOW_MS,
        granted=("restart_service",),
        rows={},
        ages_ms={},
        scope=None,
        peers=peers,
    )


LIVE = builders.live_command(context().propose("restart_service", because="rss is too much"))


def peers(**changes: Any) -> Peers:
    """Nine others, all well."""
    return replace(Peers(fleet="web", others=9, healthy=9, self_healthy=True), **changes)


def refused(reason: Reason | None, code: str, sentence: str) -> None:
    assert reason is not None, f"it should be refused with {code}"
    assert (reason.code, reason.msg, reason.by) == (code, sentence, "guard.limits")


@pytest.mark.parametrize("down", [0, 3])
def test_as_much_as_the_limit_may_be_down(down: int) -> None:
    assert limits.check(case(peers(down=down))) is None


def test_one_more_may_not() -> None:
    refused(
        limits.check(case(peers(down=4))),
        "fleet_share",
        f"with {WEB_1} 5 of 10 members of the fleet web would be down; at most 0.4 of it may be",
    )


@pytest.mark.parametrize(("share_max", "others"), [(0.7, 9), (0.1, 9), (0.3, 19), (0.55, 19), (1.0, 14)])
def test_a_limit_that_no_float_holds_exactly_is_met_exactly(share_max: float, others: int) -> None:
    allowed = [
        n for n in range(others + 1) if limits.check(case(peers(others=others, down=n), share_max=share_max)) is None
    ]

    assert len(allowed) == round(share_max * (others + 1))


def test_every_fleet_of_the_subject_must_hold() -> None:
    assert limits.check(case(peers(), peers(fleet="all"))) is None

    reason = limits.check(case(peers(), peers(fleet="all", others=99, down=40)))

    assert reason is not None
    assert reason.code == "fleet_share"
    assert "of the fleet all" in reason.msg


@pytest.mark.parametrize(
    ("down", "here", "untold", "allowed"),
    [
        pytest.param(0, 10, 4, True, id="all that is left, where all members are here"),
        pytest.param(0, 5, 2, True, id="half of it, where half of them are"),
        pytest.param(2, 5, 3, False, id="one more than that"),
        pytest.param(3, 5, 1, True, id="one, however little is left"),
        pytest.param(3, 1, 1, True, id="one, however few are here"),
        pytest.param(3, 5, 2, False, id="no second one"),
        pytest.param(3, 5, -2, True, id="more came up than went down"),
    ],
)
def test_until_the_others_are_told_a_partition_takes_its_part_of_what_is_left(
    down: int, here: int, untold: int, allowed: bool
) -> None:
    reason = limits.check(case(peers(down=down, here=here, untold=untold)))

    assert (reason.code if reason is not None else "") == ("" if allowed else "fleet_untold")


def test_a_small_fleet_is_acted_on_one_at_a_time_whatever_the_share() -> None:
    assert limits.check(case(peers(others=0))) is None
    assert limits.check(case(peers(others=8, down=8))) is None

    refused(
        limits.check(case(peers(others=1, down=1, in_flight=1))),
        "fleet_busy",
        "the fleet web has 2 members, too few for a share: they are acted on one at a time, and 1 is under way",
    )


@pytest.mark.parametrize("others", [0, 8, 9, 99])
def test_where_nothing_may_be_down_nothing_is_acted_on(others: int) -> None:
    reason = limits.check(case(peers(others=others), share_max=0.0))

    assert reason is not None
    assert reason.code == "fleet_share"


def test_a_subject_in_no_fleet_is_refused() -> None:
    refused(
        limits.check(case()),
        "no_fleet",
        f"{WEB_1} is in no fleet, and restart_service is limited to a share of one",
    )


def test_a_subject_that_was_never_registered_is_refused() -> None:
    refused(
        limits.check(case(peers(), row=replace(ROW, registered=False))),
        "not_registered",
        f"{WEB_1} was never registered or is retired, so it counts in no fleet, and restart_service is limited to a "
        "share of one",
    )


def test_an_unknown_fleet_is_refused_even_among_known_ones() -> None:
    refused(
        limits.check(case(peers(), peers(fleet="all", unknown="partition 2 was never heard of"))),
        "fleet_share_unknown",
        "the share of the fleet all is not known: partition 2 was never heard of",
    )


def test_an_intent_without_the_limit_asks_for_no_fleet() -> None:
    unlimited = builders.controls(builders.intent()).intents["restart_service"]

    assert limits.check(replace(case(), intent=unlimited)) is None


class TestPeers:
    @pytest.mark.parametrize(
        ("before", "down", "in_flight"),
        [
            pytest.param(ROW, 3, 1, id="a healthy member is counted as up"),
            pytest.param(replace(ROW, healthy=()), 2, 1, id="a sick one is counted as down"),
            pytest.param(replace(ROW, live=(LIVE,)), 2, 0, id="one in flight as both"),
            pytest.param(replace(ROW, registered=False), 3, 1, id="an unregistered one is not counted"),
        ],
    )
    def test_the_subject_is_taken_out_as_it_was_counted(self, before: Row, down: int, in_flight: int) -> None:
        whole = FleetSummary(size=20, healthy=17, in_flight=1, down=3)

        (found,) = peers_of(before, ROW, CONTROLS.fleets, {"web": whole})

        assert (found.down, found.in_flight) == (down, in_flight)
        assert found.size == (20 if before.registered else 21)

    def test_a_fleet_of_which_nothing_was_told_is_unknown(self) -> None:
        (found,) = peers_of(ROW, ROW, CONTROLS.fleets, {})

        assert found.unknown == "nothing was told of it yet"

    def test_a_subject_that_no_expression_matches_has_none(self) -> None:
        door = Row(subject="door/north", registered=True)

        assert peers_of(door, door, CONTROLS.fleets, {}) == ()


class TestFacts:
    def test_they_tell_of_the_fleet_of_which_most_would_be_down(self) -> None:
        facts = policy.question(case(peers(), peers(fleet="all", others=19, healthy=12, down=7, in_flight=2))).input[
            "facts"
        ]

        assert {name: facts[name] for name in facts if name.startswith("fleet")} == {
            "fleet": "all",
            "fleet_size": 20,
            "fleet_share": 0.4,
            "fleet_healthy_share": 0.65,
            "fleet_in_flight": 2,
        }

    @pytest.mark.parametrize(
        "without",
        [case(), case(peers(), peers(unknown="lost")), case(peers(), row=replace(ROW, registered=False))],
        ids=["no fleet", "one unknown", "not registered"],
    )
    def test_they_are_absent_where_a_fleet_is_not_known(self, without: Case) -> None:
        assert not [name for name in policy.question(without).input["facts"] if name.startswith("fleet")]
