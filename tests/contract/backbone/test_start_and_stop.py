"""A process stops cleanly and goes on where it stopped; what cannot start says why."""

import errno
from pathlib import Path

import pytest

from control_plane.adapters.faust import FaustBackbone
from control_plane.adapters.faust.data_dir import DataDir
from control_plane.adapters.faust.row_store import _storage_error
from control_plane.errors import BackboneUnavailable, InvalidSettings, StorageFull
from control_plane.messages.topics import CONTROLS, KEYED_BY_SUBJECT
from tests.contract.backbone.owners import CountingOwner, KeepingReader
from tests.contract.backbone.world import PARTITIONS, World, events


async def test_it_goes_on_where_it_stopped(world: World) -> None:
    first = CountingOwner()
    async with world.running(first) as backbone:
        await backbone.append(events(50))
        await first.until(lambda: len(first.taken) == 50)

    second = CountingOwner()
    async with world.running(second) as backbone:
        await backbone.append(events(50, first=50))
        await second.until(lambda: len(second.taken) == 50)
        await second.until(lambda: len(second.committed_batches) == len(second.batches))
        counts = second.counts()

    assert {record.value for record in second.taken} == {b"event %d" % n for n in range(50, 100)}
    assert counts == {b"k%d" % k: 20 for k in range(5)}


async def test_a_partition_begins_with_its_mark_and_the_record_before(world: World) -> None:
    first = CountingOwner()
    async with world.running(first) as backbone:
        await backbone.append(events(7, keys=1))
        await first.until(lambda: len(first.taken) == 7)
    last = first.taken[-1]

    second = CountingOwner()
    async with world.running(second):
        await second.until(lambda: len(second.starts) == PARTITIONS)

    start = second.starts[last.partition]
    assert (start.next_offset, start.mark) == (8, b"mark of 7"), "seven records and the claim before them"
    assert start.record_before == last
    [other] = set(range(PARTITIONS)) - {last.partition}
    assert second.starts[other].next_offset <= 1, "nothing but a claim, which may not have been taken"


async def test_the_same_backbone_starts_again(world: World) -> None:
    owner = CountingOwner()
    backbone = world.backbone()
    backbone.own_events(owner)
    for round_ in range(3):
        await backbone.start()
        await backbone.append(events(4, first=4 * round_))
        await owner.until(lambda upto=4 * round_ + 4: len(owner.taken) == upto)
        await backbone.stop()

    assert sorted(record.value for record in owner.taken) == sorted(b"event %d" % n for n in range(12))


async def test_stopping_revokes_what_was_owned(world: World) -> None:
    owner = CountingOwner()
    async with world.running(owner):
        await owner.until(lambda: len(owner.readers) == PARTITIONS)

    assert sorted(owner.revoked_partitions) == list(range(PARTITIONS))


async def test_every_topic_is_there_after_the_start(world: World) -> None:
    async with world.running():
        found = {topic: await world.read(topic) for topic in (*KEYED_BY_SUBJECT, *CONTROLS)}

    assert all(records == [] for records in found.values())


async def test_another_partition_count_is_refused(world: World) -> None:
    async with world.running():
        pass

    other = world.backbone(partitions=PARTITIONS + 1)
    with pytest.raises(InvalidSettings, match=f"has {PARTITIONS} partitions, {PARTITIONS + 1} are asked for"):
        await other.start()


@pytest.mark.parametrize("url", ["redis://x", "embedded://", "embedded://x?atomic=perhaps", "kafka://", "nonsense"])
def test_an_address_that_is_none_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match="Nothing was started"):
        FaustBackbone(url, data_dir=tmp_path)


@pytest.mark.parametrize("partitions", [0, -1, 1_000_000])
def test_a_partition_count_that_cannot_be_is_refused(partitions: int, tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match="Nothing was opened"):
        FaustBackbone("embedded://log", partitions=partitions, data_dir=tmp_path)


async def test_a_kafka_that_is_not_there_is_named_with_the_cure(tmp_path: Path) -> None:
    backbone = FaustBackbone("kafka://127.0.0.1:1", data_dir=tmp_path)

    with pytest.raises(BackboneUnavailable, match=r"127\.0\.0\.1:1.*make services"):
        await backbone.start()


@pytest.mark.parametrize("place", ["/proc/setpoint/data", "FILE", "FILE/data"])
async def test_a_data_directory_that_cannot_be_written_is_one_clear_error(
    place: str, tmp_path: Path, world: World
) -> None:
    (tmp_path / "file").write_text("no folder")
    path = Path(place.replace("FILE", str(tmp_path / "file")))
    backbone = FaustBackbone(world.url, partitions=PARTITIONS, data_dir=path, app_id="app", topic_prefix=world.prefix)
    backbone.own_events(CountingOwner())

    with pytest.raises(InvalidSettings, match=rf"{path} cannot be used .*Nothing was opened.*data_dir"):
        await backbone.start()


async def test_without_the_loop_a_data_directory_is_needed_all_the_same(tmp_path: Path, world: World) -> None:
    path = Path("/proc/setpoint/data")
    backbone = FaustBackbone(world.url, partitions=PARTITIONS, data_dir=path, app_id="app", topic_prefix=world.prefix)
    backbone.join("recorder", (CONTROLS[0],), KeepingReader())

    with pytest.raises(InvalidSettings, match=rf"{path} cannot be used"):
        await backbone.start()


def test_a_full_disk_under_the_data_directory_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "mkdir", full)

    with pytest.raises(StorageFull, match="Free space and start again"):
        DataDir(tmp_path / "data").claim()


def test_a_broken_name_of_a_worker_is_drawn_anew(tmp_path: Path) -> None:
    (tmp_path / "member").write_bytes(b"")

    drawn = DataDir(tmp_path).member()

    assert len(drawn) == 12
    assert DataDir(tmp_path).member() == drawn


def test_a_table_that_may_not_be_written_names_the_cure() -> None:
    complaint = _storage_error(
        Exception("IO error: While open a file: /d/tables/x/LOCK: Permission denied"), "/d/tables"
    )

    assert isinstance(complaint, InvalidSettings)
    assert "Make the data directory writable" in str(complaint)
