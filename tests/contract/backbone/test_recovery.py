"""Rows come back from the changelog, whatever the local table holds, and never from a log that is gone."""

import shutil
import time

import pytest

from control_plane.adapters.faust.row_store import PartitionRows
from control_plane.errors import DataInUse
from control_plane.messages.topics import EVENTS
from control_plane.ports.backbone import Commit, Output, RowWrite
from tests.contract.backbone.killing import ShownOwner, worker
from tests.contract.backbone.owners import CountingOwner, Row, encode
from tests.contract.backbone.world import PARTITIONS, World, events

MANY_ROWS = 50_000
MANY_ROWS_S = 2.5
"""To a first batch with MANY_ROWS in the changelog; well above what a quiet machine needs."""


async def test_rows_come_back_when_the_local_table_is_gone(world: World) -> None:
    async with counted(world, 100):
        pass
    shutil.rmtree(world.path / "one" / "tables")

    owner = ShownOwner()
    async with world.running(owner):
        await owner.until(lambda: len(owner.starts) == PARTITIONS)
        assert owner.counts() == {b"k%d" % k: 20 for k in range(5)}
        assert owner.taken == []


async def test_a_worker_without_tables_takes_over_the_rows(world: World) -> None:
    async with counted(world, 100):
        pass

    owner = CountingOwner()
    async with world.running(owner, worker="two") as backbone:
        await backbone.append(events(5, first=100))
        await owner.until(lambda: sum(owner.counts().values()) == 105)


async def test_rows_that_were_written_since_are_caught_up_with(world: World) -> None:
    """One worker's tables are old, because another one owned the partitions meanwhile."""
    async with counted(world, 50):
        pass
    async with counted(world, 50, worker="two"):
        pass

    owner = CountingOwner()
    async with world.running(owner, worker="one"):
        await owner.until(lambda: len(owner.starts) == PARTITIONS)
        assert sum(owner.counts().values()) == 100


async def test_rows_of_a_log_that_is_gone_do_not_survive_it(world: World) -> None:
    async with counted(world, 100):
        pass
    await world.wipe()

    owner = CountingOwner()
    async with world.running(owner) as backbone:
        await owner.until(lambda: len(owner.starts) == PARTITIONS)
        assert owner.counts() == {}
        await backbone.append(events(2, keys=1))
        await owner.until(lambda: owner.counts() == {b"k0": 2})


async def test_an_empty_value_removes_a_row(world: World) -> None:
    owner = CountingOwner()
    async with world.running(owner) as backbone:
        await backbone.append([Output(EVENTS, b"k", b"v", 0), Output(EVENTS, b"k", b"v", 0)])
        await owner.until(lambda: owner.counts() == {b"k": 2})
        gone = Commit(batch_offset=3, rows=(RowWrite(b"k", b"", b""),), outputs=(), next_offset=3, mark=b"m")
        await backbone.commit(0, gone)
        assert owner.row(0, b"k") is None
    shutil.rmtree(world.path / "one" / "tables")

    again = CountingOwner()
    async with world.running(again):
        await again.until(lambda: len(again.starts) == PARTITIONS)
        assert again.counts() == {}


async def test_many_rows_are_back_within_seconds(world: World) -> None:
    owner = CountingOwner()
    async with world.running(owner) as backbone:
        await backbone.append([Output(EVENTS, b"k", b"v", 0)])
        await owner.until(lambda: bool(owner.committed_batches))
        for first in range(0, MANY_ROWS, 1_000):
            row = encode(Row(1, 0))
            rows = tuple(RowWrite(b"subject/%d" % n, row, row) for n in range(first, first + 1_000))
            await backbone.commit(0, Commit(batch_offset=1, rows=rows, outputs=(), next_offset=1, mark=b"m"))
    shutil.rmtree(world.path / "one" / "tables")

    again = CountingOwner()
    began = time.perf_counter()
    async with world.running(again):
        await again.until(lambda: len(again.starts) == PARTITIONS)
        took_s = time.perf_counter() - began
        assert len(again.counts()) == MANY_ROWS + 1
    assert took_s < MANY_ROWS_S


async def test_tables_in_use_are_refused(world: World) -> None:
    async with worker(world, rounds=1) as process:
        assert process.stdout is not None
        await process.stdout.readline()

        second = world.backbone("one")
        second.own_events(CountingOwner())
        with pytest.raises(DataInUse, match="Nothing was opened"):
            await second.start()


async def test_a_log_in_use_is_refused(world: World) -> None:
    if world.is_kafka:
        return  # A Kafka is there to be shared.
    async with worker(world, rounds=1) as process:
        assert process.stdout is not None
        await process.stdout.readline()

        with pytest.raises(DataInUse):
            await world.backbone("two").start()


async def test_rows_larger_than_a_batch_come_back(world: World) -> None:
    rows = tuple(RowWrite(b"%d" % n, b"r" * 700_000, b"r" * 700_000) for n in range(4))
    async with counted(world, 0) as owner:
        await owner.until(lambda: len(owner.readers) == PARTITIONS)
        await owner.backbone.commit(0, Commit(batch_offset=0, rows=rows, outputs=(), next_offset=0, mark=b"m"))
    shutil.rmtree(world.path / "one" / "tables")

    again = CountingOwner()
    async with world.running(again):
        await again.until(lambda: len(again.starts) == PARTITIONS)
        assert dict(again.readers[0].scan()) == {row.key: row.value for row in rows}


async def test_a_local_table_that_is_damaged_is_rebuilt(world: World) -> None:
    async with counted(world, 100):
        pass
    damaged = list((world.path / "one" / "tables").glob("**/rows-*.db/MANIFEST-*"))
    for manifest in damaged:
        manifest.write_bytes(b"nonsense")

    owner = ShownOwner()
    async with world.running(owner):
        await owner.until(lambda: len(owner.starts) == PARTITIONS)
        assert owner.counts() == {b"k%d" % k: 20 for k in range(5)}
    assert len(damaged) == PARTITIONS


def test_the_offset_is_stored_with_the_rows(tmp_path_factory: pytest.TempPathFactory) -> None:
    from rocksdict import Options, Rdict

    db = Rdict(str(tmp_path_factory.mktemp("rows")), options=Options(raw_mode=True))
    rows = PartitionRows(db)
    rows.write([(b"a", b"1"), (b"b", b"2")], 7)
    rows.write([(b"a", b"")], 8)

    assert rows.changelog_offset() == 8
    assert dict(rows.scan()) == {b"b": b"2"}
    db.close()


def counted(world: World, count: int, *, worker: str = "one") -> "Counted":
    return Counted(world, count, worker)


class Counted:
    """A worker that has taken so many more events and committed them; stopped at the end."""

    def __init__(self, world: World, count: int, worker: str) -> None:
        self._running = world.running(owner := CountingOwner(), worker=worker)
        self._owner = owner
        self._count = count

    async def __aenter__(self) -> CountingOwner:
        backbone = self._owner.backbone = await self._running.__aenter__()
        await backbone.append(events(self._count))
        await self._owner.until(lambda: len(self._owner.taken) == self._count)
        await self._owner.until(lambda: len(self._owner.committed_batches) == len(self._owner.batches))
        return self._owner

    async def __aexit__(self, *raised: object) -> None:
        await self._running.__aexit__(*raised)
