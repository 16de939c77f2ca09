"""When a write counts as durable, and what waiting for it costs."""

import asyncio
import os
import threading
from pathlib import Path

import pytest

from control_plane.adapters.embedded_log import Append, EmbeddedLog
from control_plane.adapters.embedded_log.group_sync import GroupSync
from control_plane.adapters.embedded_log.high_water import HighWater
from control_plane.adapters.embedded_log.store import Store
from control_plane.errors import StorageFull

TOPIC = "events.v1"


class SlowStore(Store):
    """A store whose fsync ends when the test says so, or fails when it says so."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, path, 0)
        self.syncs = 0
        self.threads: set[str] = set()
        self.release = threading.Semaphore(0)
        self.error: StorageFull | None = None

    def sync(self) -> None:
        self.threads.add(threading.current_thread().name)
        assert self.release.acquire(timeout=10)
        self.syncs += 1
        if self.error is not None:
            raise self.error


@pytest.fixture
def mark(tmp_path: Path) -> HighWater:
    return HighWater.create(tmp_path / "high_water")


async def turns(count: int = 10) -> None:
    """Let every task that can run do so."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_with_flush_a_write_is_durable_when_it_returns(tmp_path: Path) -> None:
    with EmbeddedLog.open(tmp_path / "log") as log:
        log.create_topic(TOPIC, partitions=1)
        log.write([Append(TOPIC, 0, b"key", b"value")])

        await asyncio.wait_for(log.durable(), 0.1)


async def test_with_fsync_many_waiters_share_few_fsyncs(tmp_path: Path) -> None:
    with EmbeddedLog.open(tmp_path / "log", durability="fsync") as log:
        log.create_topic(TOPIC, partitions=1)

        async def write_one(n: int) -> None:
            log.write([Append(TOPIC, 0, b"key", b"%d" % n)])
            await log.durable()

        await asyncio.gather(*(write_one(n) for n in range(500)))

        assert log._group_sync is not None
        assert log._group_sync.syncs <= 3
        assert log.bounds(TOPIC, 0) == (0, 500)


async def test_whoever_writes_while_an_fsync_runs_waits_for_the_next_one(tmp_path: Path, mark: HighWater) -> None:
    store = SlowStore(tmp_path)
    group = GroupSync(store, mark)
    mark.write(1, 0)
    first = asyncio.create_task(group.wait())
    await turns()
    mark.write(2, 0)
    second = asyncio.create_task(group.wait())
    await turns()

    store.release.release()
    await first
    assert not second.done()
    assert (mark.acknowledged, mark.synced) == (2, 1)

    store.release.release()
    await second
    assert (mark.acknowledged, mark.synced) == (2, 2)
    assert store.syncs == 2
    assert threading.current_thread().name not in store.threads
    group.close()


async def test_a_waiter_that_gives_up_does_not_take_the_fsync_from_the_others(tmp_path: Path, mark: HighWater) -> None:
    store = SlowStore(tmp_path)
    group = GroupSync(store, mark)
    mark.write(1, 0)
    impatient, patient = asyncio.create_task(group.wait()), asyncio.create_task(group.wait())
    await turns()

    impatient.cancel()
    await turns()
    store.release.release()
    await patient

    assert impatient.cancelled()
    assert store.syncs == 1
    group.close()


async def test_an_fsync_that_fails_is_told_to_all_who_wait_for_it(tmp_path: Path, mark: HighWater) -> None:
    store = SlowStore(tmp_path)
    store.error = StorageFull("no room")
    group = GroupSync(store, mark)
    mark.write(1, 0)
    waiters = [asyncio.create_task(group.wait()) for _ in range(3)]
    await turns()

    store.release.release()
    told = await asyncio.gather(*waiters, return_exceptions=True)

    assert told == [store.error] * 3
    assert mark.synced == 0
    group.close()


def test_the_high_water_mark_outlives_a_torn_slot(tmp_path: Path, mark: HighWater) -> None:
    for number in range(1, 6):
        mark.write(number, number - 1)
    mark.close()
    path = tmp_path / "high_water"
    content = bytearray(path.read_bytes())

    for at in range(len(content)):
        torn = bytearray(content)
        torn[at] ^= 0x01
        path.write_bytes(torn)
        found = HighWater.open(path)
        assert found.acknowledged in (4, 5)
        found.close()


def test_closing_leaves_no_thread_and_no_open_file_behind(tmp_path: Path) -> None:
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    EmbeddedLog.open(tmp_path / "log", durability="fsync").close()
    before, threads = descriptors(), threading.active_count()

    for _ in range(20):
        with EmbeddedLog.open(tmp_path / "log", durability="fsync") as log:
            log.create_topic(TOPIC, partitions=1)
            log.write([Append(TOPIC, 0, b"key", b"value")])
        EmbeddedLog.open(tmp_path / "log", read_only=True).close()

    assert descriptors() == before
    assert threading.active_count() == threads
