"""Damage is noticed and named, and nothing is repaired in silence; a write that nobody was told of is no damage."""

import shutil
from pathlib import Path

import pytest

from control_plane.adapters.embedded_log import Append, EmbeddedLog
from control_plane.errors import DataDamaged
from tests.contract.embedded_log.damaging import (
    RECORDS,
    TOPIC,
    closed_log,
    contents,
    cut,
    files_of,
    flip,
    forget_the_boot,
    killed_log,
    set_type_of_record,
)
from tests.contract.embedded_log.killing import acknowledged_until_killed
from tests.contract.embedded_log.writer import value_at


def read_all(log: EmbeddedLog) -> list[bytes]:
    first, end = log.bounds(TOPIC, 0)
    values: list[bytes] = []
    while first + len(values) < end:
        values += [record.value for record in log.read(TOPIC, 0, first + len(values))]
    return values


ALL = [value_at(offset) for offset in range(RECORDS)]


@pytest.mark.parametrize("share", [0.02, 0.25, 0.5, 0.75, 0.93, 0.97, 0.999])
def test_a_flipped_byte_anywhere_in_the_journal_stops_the_start_and_changes_nothing(
    tmp_path: Path, share: float
) -> None:
    path = killed_log(tmp_path / "log")
    (journal,) = files_of(path, "*.log")
    flip(journal, int(journal.stat().st_size * share))
    before = contents(path)

    with pytest.raises(DataDamaged, match=r"Nothing was opened.*Nothing was repaired.*backup"):
        EmbeddedLog.open(path)

    assert contents(path) == before
    flip(journal, int(journal.stat().st_size * share))
    with EmbeddedLog.open(path) as log:
        assert read_all(log) == ALL


@pytest.mark.parametrize("size", [1, 100, 1999, 40_000])
def test_a_journal_that_lost_acknowledged_bytes_at_its_end_stops_the_start(tmp_path: Path, size: int) -> None:
    path = killed_log(tmp_path / "log")
    (journal,) = files_of(path, "*.log")
    cut(journal, size)
    before = contents(path)

    for _ in range(2):
        with pytest.raises(DataDamaged, match="had been acknowledged"):
            EmbeddedLog.open(path)

    assert contents(path) == before


def test_a_journal_cut_exactly_between_two_writes_stops_the_start_too(tmp_path: Path) -> None:
    path = killed_log(tmp_path / "log")
    files_of(path, "*.log")[0].write_bytes(b"")

    for _ in range(2):
        with pytest.raises(DataDamaged, match="had been acknowledged"):
            EmbeddedLog.open(path)


def test_a_missing_journal_stops_the_start(tmp_path: Path) -> None:
    path = killed_log(tmp_path / "log")
    files_of(path, "*.log")[0].unlink()

    with pytest.raises(DataDamaged, match="had been acknowledged"):
        EmbeddedLog.open(path)


@pytest.mark.parametrize(
    "tail", [b"\x00" * 5000, b"\xff" * 300, bytes(reversed(range(256)))], ids=["zeros", "ones", "any"]
)
def test_a_torn_write_that_nobody_was_told_of_does_not_stop_the_start(tmp_path: Path, tail: bytes) -> None:
    path = killed_log(tmp_path / "log")
    (journal,) = files_of(path, "*.log")
    journal.write_bytes(journal.read_bytes() + tail)

    with EmbeddedLog.open(path) as log:
        assert read_all(log) == ALL
        log.write([Append(TOPIC, 0, b"key", b"after")])

    with EmbeddedLog.open(path) as log:
        assert [*ALL, b"after"] == read_all(log)


@pytest.mark.parametrize("kind", [0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 129, 130, 131, 255])
def test_a_record_of_another_type_in_the_journal_stops_the_start_and_never_hangs_it(tmp_path: Path, kind: int) -> None:
    path = killed_log(tmp_path / "log")
    (journal,) = files_of(path, "*.log")
    set_type_of_record(journal, 40, kind)

    for read_only in (False, True):
        with pytest.raises(DataDamaged, match="Nothing was opened"):
            EmbeddedLog.open(path, read_only=read_only)


@pytest.mark.parametrize("kind", [0, 4, 5, 8, 11, 129])
def test_a_record_of_another_type_in_the_manifest_stops_the_start_and_never_hangs_it(tmp_path: Path, kind: int) -> None:
    path = closed_log(tmp_path / "log")
    set_type_of_record(files_of(path, "MANIFEST-*")[-1], 1, kind)

    with pytest.raises(DataDamaged, match="Nothing was opened"):
        EmbeddedLog.open(path)


def test_after_power_loss_a_torn_tail_that_was_never_synced_does_not_stop_the_start(tmp_path: Path) -> None:
    path = killed_log(tmp_path / "log")
    cut(files_of(path, "*.log")[0], 100)
    forget_the_boot(path)

    with EmbeddedLog.open(path) as log:
        assert read_all(log) == ALL[:-10]
        log.write([Append(TOPIC, 0, b"key", b"after")])
        assert read_all(log) == [*ALL[:-10], b"after"]


def test_after_power_loss_at_any_byte_only_whole_writes_are_left(tmp_path: Path) -> None:
    path = killed_log(tmp_path / "log")
    forget_the_boot(path)
    size = files_of(path, "*.log")[0].stat().st_size

    for left in range(1000, size, size // 25):
        copy = Path(shutil.copytree(path, tmp_path / f"copy{left}"))
        cut(files_of(copy, "*.log")[0], size - left)
        with EmbeddedLog.open(copy) as log:
            kept = read_all(log)
            assert len(kept) % 10 == 0
            assert kept == ALL[: len(kept)]
            assert len(kept) * 200 <= left
        shutil.rmtree(copy)


def test_after_power_loss_what_was_synced_must_still_be_there(tmp_path: Path) -> None:
    path = tmp_path / "log"
    acknowledged_until_killed(path, acknowledgements=50, durability="fsync")
    forget_the_boot(path)
    EmbeddedLog.open(Path(shutil.copytree(path, tmp_path / "copy"))).close()
    cut(files_of(path, "*.log")[0], 3000)

    with pytest.raises(DataDamaged, match="had been acknowledged"):
        EmbeddedLog.open(path)


@pytest.mark.parametrize("share", [0.05, 0.4, 0.8])
def test_after_power_loss_a_flipped_byte_in_the_middle_is_noticed(tmp_path: Path, share: float) -> None:
    path = killed_log(tmp_path / "log")
    (journal,) = files_of(path, "*.log")
    flip(journal, int(journal.stat().st_size * share))
    forget_the_boot(path)
    before = contents(path)

    with pytest.raises(DataDamaged):
        EmbeddedLog.open(path)

    assert contents(path) == before


def test_a_flipped_byte_in_a_table_is_named_with_topic_partition_and_offset(tmp_path: Path) -> None:
    path = closed_log(tmp_path / "log")
    table = files_of(path, "*.sst")[-1]
    flip(table, table.stat().st_size // 2)

    with EmbeddedLog.open(path) as log, pytest.raises(DataDamaged, match=r"events\.v1/0 .*offset \d+ .*checksum"):
        read_all(log)


def test_an_error_that_is_still_held_does_not_keep_the_log_open(tmp_path: Path) -> None:
    path = closed_log(tmp_path / "log")
    table = files_of(path, "*.sst")[-1]
    flip(table, table.stat().st_size // 2)
    log = EmbeddedLog.open(path)

    with pytest.raises(DataDamaged) as told:
        read_all(log)
    log.close()

    EmbeddedLog.open(path).close()
    assert told.value.__traceback__ is not None


def test_what_stands_before_and_after_the_damage_can_still_be_read(tmp_path: Path) -> None:
    path = closed_log(tmp_path / "log")
    table = files_of(path, "*.sst")[-1]
    flip(table, table.stat().st_size // 2)

    with EmbeddedLog.open(path) as log:
        assert log.read(TOPIC, 0, 0, max_records=10)[-1].value == ALL[9]
        assert log.read(TOPIC, 0, RECORDS - 10)[-1].value == ALL[-1]


@pytest.mark.parametrize("size", [1, 60, 5000])
def test_a_table_that_was_cut_stops_the_start(tmp_path: Path, size: int) -> None:
    path = closed_log(tmp_path / "log")
    cut(files_of(path, "*.sst")[-1], size)

    with pytest.raises(DataDamaged, match="Nothing was opened"):
        EmbeddedLog.open(path)


@pytest.mark.parametrize("pattern", ["*.sst", "CURRENT", "MANIFEST-*"])
def test_a_file_of_the_store_that_is_missing_stops_the_start(tmp_path: Path, pattern: str) -> None:
    path = closed_log(tmp_path / "log")
    files_of(path, pattern)[-1].unlink()

    with pytest.raises(DataDamaged, match="Nothing was opened"):
        EmbeddedLog.open(path)


def test_a_manifest_with_any_flipped_byte_stops_the_start_or_loses_nothing(tmp_path: Path) -> None:
    path = closed_log(tmp_path / "log")
    size = files_of(path, "MANIFEST-*")[-1].stat().st_size
    stopped = 0

    for at in range(0, size, 7):
        copy = Path(shutil.copytree(path, tmp_path / f"copy{at}"))
        flip(files_of(copy, "MANIFEST-*")[-1], at)
        try:
            with EmbeddedLog.open(copy) as log:
                assert read_all(log) == ALL
        except DataDamaged:
            stopped += 1
        shutil.rmtree(copy)

    assert stopped > 0


def test_a_manifest_that_was_cut_anywhere_stops_the_start_or_loses_nothing(tmp_path: Path) -> None:
    path = closed_log(tmp_path / "log")
    size = files_of(path, "MANIFEST-*")[-1].stat().st_size
    stopped = 0

    for left in range(0, size, 7):
        copy = Path(shutil.copytree(path, tmp_path / f"copy{left}"))
        cut(files_of(copy, "MANIFEST-*")[-1], size - left)
        try:
            with EmbeddedLog.open(copy) as log:
                assert read_all(log) == ALL
        except DataDamaged:
            stopped += 1
        shutil.rmtree(copy)

    assert stopped > 0


@pytest.mark.parametrize("name", ["high_water", "format.json"])
def test_a_missing_file_of_the_directory_stops_the_start(tmp_path: Path, name: str) -> None:
    path = closed_log(tmp_path / "log")
    (path / name).unlink()

    for _ in range(2):
        with pytest.raises(DataDamaged, match=name):
            EmbeddedLog.open(path)


@pytest.mark.parametrize("name", ["high_water", "format.json"])
def test_a_garbled_file_of_the_directory_stops_the_start(tmp_path: Path, name: str) -> None:
    path = closed_log(tmp_path / "log")
    (path / name).write_bytes(b"\xfe" * 128)

    with pytest.raises(DataDamaged, match=name):
        EmbeddedLog.open(path)


def test_a_directory_put_together_from_two_logs_stops_the_start(tmp_path: Path) -> None:
    path, other = closed_log(tmp_path / "log"), closed_log(tmp_path / "other")
    shutil.rmtree(path / "rocksdb")
    shutil.copytree(other / "rocksdb", path / "rocksdb")

    with pytest.raises(DataDamaged, match="generation"):
        EmbeddedLog.open(path)


def test_a_reader_notices_damage_as_the_writer_does(tmp_path: Path) -> None:
    path = killed_log(tmp_path / "log")
    (journal,) = files_of(path, "*.log")
    flip(journal, journal.stat().st_size // 2)

    with pytest.raises(DataDamaged):
        EmbeddedLog.open(path, read_only=True)


def test_a_reader_leaves_a_log_as_it_is(tmp_path: Path) -> None:
    path = killed_log(tmp_path / "log")
    before = contents(path)

    with EmbeddedLog.open(path, read_only=True) as log:
        assert read_all(log) == ALL

    assert contents(path) == before
