"""Killed under load, the service loses nothing and does nothing twice; and the checker would see it if it did."""

import sys
from pathlib import Path

import pytest

from tests.kill.__main__ import backbone_url
from tests.kill.orders import Orders
from tests.kill.run import Ordeal

KILLS = 10
KILLS_OF_ORDERS = 3
"""The orders example has most of its figures from `make kills WORKSPACE=orders`."""
TAMPERINGS = 5
"""A bit in a verdict, a threshold with and without its digests, an event that is gone, a byte in the files."""
SABOTAGE_TRIES = 5

pytestmark = [pytest.mark.kills, pytest.mark.timeout(600)]


@pytest.mark.parametrize("backbone", ["embedded", "embedded-not-atomic"])
def test_nothing_is_lost_and_nothing_done_twice_however_often_it_is_killed(tmp_path: Path, backbone: str) -> None:
    ordeal = Ordeal(tmp_path, backbone_url(backbone, tmp_path), seed=20261121)

    findings = ordeal.run(KILLS)

    assert findings.violations == []
    assert findings.counts["command.succeeded"] > 20
    assert sum(ordeal.kills.values()) == KILLS
    assert findings.counts["replays equal"] == 1
    assert findings.counts["tamperings found"] == findings.counts["tamperings"] == TAMPERINGS


def test_an_example_as_users_get_it_is_killed_and_every_order_gets_what_it_needs_once(tmp_path: Path) -> None:
    ordeal = Ordeal(tmp_path, backbone_url("embedded", tmp_path), seed=20261121, scene=Orders())

    findings = ordeal.run(KILLS_OF_ORDERS)

    assert findings.violations == []
    assert findings.counts["command.succeeded"] > 10
    assert findings.counts["facts said again"] > 10
    ways = ("refused", "throttled", "broken", "answer_lost", "hangs")
    assert all(findings.counts[f"warehouse {way}"] for way in ways)
    assert findings.counts["replays equal"] == 1
    assert findings.counts["tamperings found"] == findings.counts["tamperings"] == TAMPERINGS


@pytest.mark.parametrize("defect", ["without_applied_offset", "offset_before_outputs"])
def test_the_checker_sees_a_promise_that_was_taken_out(tmp_path: Path, defect: str) -> None:
    """A kill shows a defect only where it strikes an event that asked for an act, so there are several tries."""
    violations: list[str] = []

    for seed in range(SABOTAGE_TRIES):
        root = tmp_path / str(seed)
        ordeal = Ordeal(
            root,
            backbone_url("embedded-not-atomic", root),
            seed=seed,
            launcher=(sys.executable, "-m", "tests.kill.broken", defect),
            faults=("rows.after", "outputs.after", "offset.after"),
            settle_timeout_s=5.0,
        )
        violations = ordeal.run(KILLS).violations
        if violations:
            break

    assert violations != []
