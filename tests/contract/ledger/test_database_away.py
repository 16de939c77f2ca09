"""A PostgreSQL that dies, is slow, refuses, is full or lets nobody write: calls say so soon, and go on afterwards."""

import asyncio
import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path

import asyncpg
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url

from control_plane.adapters.sql import Database, SqlAudit, SqlLedger, SqlPositions
from control_plane.errors import AuditUnavailable, LedgerUnavailable, PositionsUnavailable
from control_plane.ports.audit import Page
from tests.contract.ledger.commands import a_taking
from tests.contract.ledger.test_audit import a_message
from tests.databases import own_database, server
from tests.proxies import Proxy
from tests.real_parts import POSTGRES, OwnServer

pytestmark = pytest.mark.postgres

CONNECT_TIMEOUT_S, STATEMENT_TIMEOUT_S, TRANSACTION_TIMEOUT_S = 1.0, 1.0, 2.0
"""Shorter than in earnest: what is looked at is that there is a limit, and that it holds."""
END_ALL_OF_SETPOINT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'setpoint'"
LETTING_GO_MAX_S = 2.0
A_BUSY_MACHINE_S = 4.0
ANSWER_MAX_S = TRANSACTION_TIMEOUT_S + LETTING_GO_MAX_S + A_BUSY_MACHINE_S


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CONNECT_TIMEOUT_S", "STATEMENT_TIMEOUT_S", "TRANSACTION_TIMEOUT_S"):
        monkeypatch.setattr(f"control_plane.adapters.sql.async_engine.{name}", globals()[name])


@pytest.fixture
async def url(postgres_url: str) -> AsyncIterator[str]:
    async with own_database(postgres_url) as url:
        yield url


@pytest.fixture(scope="module")
def mortal() -> Iterator[OwnServer]:
    """A server that tests may kill; each starts it again."""
    with POSTGRES.own() as server:
        yield server


class Stores:
    """All that one process keeps in a database."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.ledger = SqlLedger(database)
        self.audit = SqlAudit(database)
        self.positions = SqlPositions(database)
        self._written = 0

    async def all_are_away(self) -> None:
        """Each call says what was not done, and soon."""
        began = time.monotonic()
        with pytest.raises(LedgerUnavailable, match="nothing is done"):
            await self.ledger.take([a_taking("lost")], now_ms=1)
        with pytest.raises(AuditUnavailable, match="nothing was recorded"):
            await self.audit.append([a_message(0, "lost")])
        with pytest.raises(PositionsUnavailable, match="so it waits"):
            await self.positions.write("orders", {"lost": 1})
        assert time.monotonic() - began < 3 * ANSWER_MAX_S

    async def all_write(self) -> None:
        """Each call does what it is for; a first write may meet the connection that was lost."""
        self._written += 1
        n = self._written
        await self.audit.query(Page())
        try:
            taken = await self.ledger.take([a_taking(f"c{n}", f"service/{n}")], now_ms=n)
        except LedgerUnavailable:
            taken = await self.ledger.take([a_taking(f"c{n}", f"service/{n}")], now_ms=n)
        assert len(taken.leased) + taken.known == 1
        assert (await self.audit.append([a_message(n)])).stored == 1
        await self.positions.write("orders", {"at": n})
        assert await self.positions.read("orders") == {"at": n}

    async def nothing_is_half_written(self) -> None:
        """What was refused is not there, and can be written now."""
        assert await self.audit.get("lost") == []
        assert "lost" not in await self.positions.read("orders")
        assert len((await self.ledger.take([a_taking("lost", "service/lost")], now_ms=1)).leased) == 1


async def opened(url: str) -> Stores:
    stores = Stores(await Database.open(url))
    await stores.all_write()
    return stores


def through(proxy: Proxy, url: str) -> str:
    return make_url(url).set(port=proxy.port).render_as_string(hide_password=False)


async def test_a_server_that_is_killed_takes_nothing_with_it_and_everything_goes_on_when_it_is_back(
    mortal: OwnServer,
) -> None:
    async with own_database(mortal.address) as url:
        stores = await opened(url)

        mortal.kill()
        await stores.all_are_away()
        mortal.start()

        await stores.all_write()
        assert len(await stores.audit.query(Page())) == 2
        await stores.nothing_is_half_written()
        await stores.database.close()


async def test_a_batch_under_way_when_the_server_is_killed_is_there_whole_or_not_at_all(mortal: OwnServer) -> None:
    async with own_database(mortal.address) as url:
        stores = await opened(url)
        well_under_way = asyncio.Event()
        batches = [[a_message(100 * n + i, f"{n}/{i}") for i in range(100)] for n in range(1, 200)]

        async def append_until_it_is_away() -> int:
            for done, batch in enumerate(batches):
                if done == 20:
                    well_under_way.set()
                try:
                    await stores.audit.append(batch)
                except AuditUnavailable:
                    return done
            return len(batches)

        appending = asyncio.create_task(append_until_it_is_away())
        await well_under_way.wait()
        await asyncio.to_thread(mortal.kill)
        acknowledged = await appending
        mortal.start()

        assert 0 < acknowledged < len(batches)
        await stores.all_write()
        whole = {n for n in range(1, 200) if len(await stores.audit.get(f"{n}/99")) == 1}
        assert len(whole) - acknowledged in {0, 1}
        async with server(url) as connection:
            assert await connection.fetchval("SELECT count(*) FROM messages") == 100 * len(whole) + 2
        await stores.database.close()


@pytest.mark.toxiproxy
async def test_a_way_that_is_refused_is_said_at_once(url: str, toxiproxy_url: str) -> None:
    with Proxy(toxiproxy_url, make_url(url).port) as way:
        stores = await opened(through(way, url))

        way.refuse()
        began = time.monotonic()
        await stores.all_are_away()
        refused_in_s = time.monotonic() - began
        way.heal()

        assert refused_in_s < A_BUSY_MACHINE_S
        await stores.all_write()
        await stores.nothing_is_half_written()
        await stores.database.close()


@pytest.mark.toxiproxy
async def test_a_server_that_is_slow_is_waited_for_and_one_that_is_silent_is_not(url: str, toxiproxy_url: str) -> None:
    with Proxy(toxiproxy_url, make_url(url).port) as way:
        stores = await opened(through(way, url))

        way.slow(latency_ms=50)
        await stores.all_write()
        way.heal()
        way.swallow()
        began = time.monotonic()
        with pytest.raises(LedgerUnavailable, match="no answer in time"):
            await stores.ledger.take([a_taking("lost")], now_ms=1)
        waited_s = time.monotonic() - began
        way.heal()

        assert waited_s < ANSWER_MAX_S
        await stores.all_write()
        await stores.database.close()


async def test_what_waits_for_a_lock_that_nobody_gives_back_says_so_and_goes_on_after(url: str) -> None:
    stores = await opened(url)
    async with server(url) as hanging:
        transaction = hanging.transaction()
        await transaction.start()
        await hanging.execute("LOCK TABLE ledger IN ACCESS EXCLUSIVE MODE")

        began = time.monotonic()
        with pytest.raises(LedgerUnavailable, match="statement timeout"):
            await stores.ledger.take([a_taking("lost", "service/lost")], now_ms=1)
        assert time.monotonic() - began < STATEMENT_TIMEOUT_S + A_BUSY_MACHINE_S
        await transaction.rollback()

    await stores.all_write()
    await stores.nothing_is_half_written()
    await stores.database.close()


async def test_a_database_that_lets_nobody_write_can_be_read(url: str) -> None:
    stores = await opened(url)
    name = make_url(url).database
    async with server(url) as owner:
        await owner.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        await owner.execute(END_ALL_OF_SETPOINT)

    with pytest.raises(AuditUnavailable):
        await stores.audit.append([a_message(0, "lost")])
    await stores.all_are_away()
    assert len(await stores.audit.get("m1")) == 1
    async with server(url) as owner:
        await owner.execute("SET default_transaction_read_only = off")
        await owner.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
        await owner.execute(END_ALL_OF_SETPOINT)

    await stores.all_write()
    await stores.nothing_is_half_written()
    await stores.database.close()


async def test_a_server_that_takes_no_more_connections_is_away_until_it_does(mortal: OwnServer) -> None:
    mortal.kill()
    mortal.start("-c", "max_connections=8")
    async with own_database(mortal.address) as url, AsyncExitStack() as others:
        stores = await opened(url)
        async with server(url) as owner:
            await owner.execute(END_ALL_OF_SETPOINT)
        await take_every_place(url, others)
        with pytest.raises(AuditUnavailable, match=r"connection is closed|closed in the middle"):
            await stores.audit.append([a_message(0, "lost")])
        with pytest.raises(AuditUnavailable, match="too many clients"):
            await stores.audit.append([a_message(0, "lost")])

        await others.aclose()
        await stores.all_write()
        await stores.nothing_is_half_written()
        await stores.database.close()


async def take_every_place(url: str, places: AsyncExitStack) -> None:
    with contextlib.suppress(asyncpg.TooManyConnectionsError):
        while True:
            await places.enter_async_context(server(url))


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A disk of 24 MB that PostgreSQL may write to."""
    with tempfile.TemporaryDirectory(prefix="setpoint-disk-") as place:
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", place], capture_output=True)
        if mounted.returncode != 0:
            pytest.skip("only who may mount has a small disk")
        try:
            shutil.chown(place, "nobody")
            yield Path(place)
        finally:
            subprocess.run(["umount", place], check=True)


async def test_a_full_disk_takes_nothing_and_everything_goes_on_when_there_is_room(
    mortal: OwnServer, small_disk: Path
) -> None:
    async with server(mortal.address) as owner:
        await owner.execute(f"CREATE TABLESPACE small LOCATION '{small_disk}'")
        try:
            async with own_database(mortal.address, "TABLESPACE small") as url:
                stores = await opened(url)
                await fill(stores.audit)

                with pytest.raises(AuditUnavailable, match="No space left"):
                    await stores.audit.append([a_message(0, "lost", body=os.urandom(200_000))])
                assert await stores.audit.get("lost") == []
                enlarge(small_disk)

                await stores.all_write()
                await stores.nothing_is_half_written()
                await stores.database.close()
        finally:
            await owner.execute("DROP TABLESPACE small")


def enlarge(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=48m", disk], check=True)


async def fill(audit: SqlAudit) -> None:
    """Write until nothing more is taken; what compresses badly."""
    for n in count(1_000):
        try:
            await audit.append([a_message(n, f"fill{n}", body=os.urandom(200_000))])
        except AuditUnavailable:
            return


async def test_a_store_that_is_not_there_at_the_start_is_refused_with_the_cure() -> None:
    with pytest.raises(AuditUnavailable, match=r"cannot be opened.*nothing was started.*correct `store`"):
        await Database.open("postgresql+asyncpg://setpoint@127.0.0.1:1/setpoint")


async def test_the_password_of_a_store_is_in_no_error() -> None:
    with pytest.raises(AuditUnavailable) as refused:
        await Database.open("postgresql+asyncpg://setpoint:se-cret@127.0.0.1:1/setpoint")

    assert "se-cret" not in str(refused.value)


async def test_what_is_in_the_rows_is_in_no_error_either(url: str) -> None:
    stores = await opened(url)

    with pytest.raises(sa.exc.DBAPIError) as refused:
        await stores.database.write(
            lambda connection: connection.execute(sa.text("SELECT CAST(:secret AS INT) / 0"), {"secret": 471100}).all()
        )

    assert "471100" not in str(refused.value)
    await stores.database.close()
