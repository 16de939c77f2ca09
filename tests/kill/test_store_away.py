"""A service whose database goes away under load: it stops acting, loses nothing, and goes on by itself."""

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from tests.databases import server
from tests.kill.__main__ import backbone_url
from tests.kill.store_away import Outage, StoreOrdeal
from tests.proxies import Proxy
from tests.real_parts import POSTGRES

pytestmark = [pytest.mark.kills, pytest.mark.postgres, pytest.mark.toxiproxy, pytest.mark.timeout(300)]


@pytest.fixture
def root() -> Iterator[Path]:
    folder = tempfile.mkdtemp(prefix="setpoint-store-away-")
    yield Path(folder)
    shutil.rmtree(folder)


def test_a_database_that_goes_away_under_load_stops_all_acting_and_costs_nothing(
    root: Path, toxiproxy_url: str
) -> None:
    with POSTGRES.own() as database, Proxy(toxiproxy_url, database.port) as way:
        url = make_url(database.address).set(port=way.port).render_as_string(hide_password=False)
        ordeal = StoreOrdeal(root, backbone_url("embedded", root), seed=20261121, store=url)

        findings = ordeal.take_away(
            [
                Outage(name="killed", begin=database.kill, end=database.start),
                Outage(name="silent", begin=way.swallow, end=way.heal),
                Outage(
                    name="read-only",
                    begin=lambda: asyncio.run(set_read_only(database.address, "on")),
                    end=lambda: asyncio.run(set_read_only(database.address, "off")),
                ),
            ]
        )

    assert findings.violations == []
    assert findings.counts["command.succeeded"] > 20
    assert findings.counts["recorded"] > 1_000


def test_a_service_that_is_told_to_stop_while_its_database_is_away_stops_and_leaves_nothing_undone(root: Path) -> None:
    with POSTGRES.own() as database:
        ordeal = StoreOrdeal(root, backbone_url("embedded", root), seed=7, store=database.address)

        findings = ordeal.stop_during(Outage(name="killed", begin=database.kill, end=database.start))

    assert findings.violations == []
    assert findings.counts["command.succeeded"] > 10


async def set_read_only(url: str, on_or_off: str) -> None:
    """As an administrator does, on a server that runs."""
    async with server(url) as administrator:
        await administrator.execute(f"ALTER SYSTEM SET default_transaction_read_only = {on_or_off}")
        await administrator.execute("SELECT pg_reload_conf()")
