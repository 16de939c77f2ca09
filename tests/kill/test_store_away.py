"""A service whose database goes away under load: it stops acting, loses nothing, and goes on by itself."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kill.__main__ import backbone_url
from tests.kill.outages import outages_of_a_database
from tests.kill.store_away import StoreOrdeal

pytestmark = [pytest.mark.kills, pytest.mark.postgres, pytest.mark.toxiproxy, pytest.mark.timeout(300)]


@pytest.fixture
def root() -> Iterator[Path]:
    folder = tempfile.mkdtemp(prefix="setpoint-store-away-")
    yield Path(folder)
    shutil.rmtree(folder)


def test_a_database_that_goes_away_under_load_stops_all_acting_and_costs_nothing(root: Path) -> None:
    with outages_of_a_database() as (url, outages):
        ordeal = StoreOrdeal(root, backbone_url("embedded", root), seed=20261121, store=url)

        findings = ordeal.take_away(outage for outage in outages if outage.name != "refused")

    assert findings.violations == []
    assert findings.counts["command.succeeded"] > 20
    assert findings.counts["recorded"] > 1_000


def test_a_service_that_is_told_to_stop_while_its_database_is_away_stops_and_leaves_nothing_undone(root: Path) -> None:
    with outages_of_a_database() as (url, outages):
        ordeal = StoreOrdeal(root, backbone_url("embedded", root), seed=7, store=url)

        findings = ordeal.stop_during(next(outage for outage in outages if outage.name == "killed"))

    assert findings.violations == []
    assert findings.counts["command.succeeded"] > 10
