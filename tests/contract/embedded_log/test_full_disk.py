"""A full disk: nothing is half written, everything can still be read, and the log goes on once there is room."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from control_plane.adapters.embedded_log import Append, EmbeddedLog, GroupOffset
from control_plane.errors import StorageFull
from tests.contract.embedded_log.killing import REPOSITORY

BOTH = ("left", "right")
FREE_BYTES_MIN = 8 * 1024 * 1024


def open_log(path: Path, free_bytes_min: int) -> EmbeddedLog:
    log = EmbeddedLog.open(path, free_bytes_min=free_bytes_min)
    for topic in BOTH:
        log.create_topic(topic, partitions=1)
    return log


def write_pair(log: EmbeddedLog, number: int) -> None:
    """The same record into two topics, and a group's offset, as one write."""
    value = b"%d " % number + os.urandom(1000)
    log.write([Append(topic, 0, b"key", value) for topic in BOTH], [GroupOffset("group", "left", 0, number + 1)])


def write_until_full(log: EmbeddedLog, number: int) -> int:
    """The number of the first pair that was refused."""
    while True:
        try:
            write_pair(log, number)
        except StorageFull:
            return number
        number += 1


def numbers(log: EmbeddedLog, topic: str) -> list[int]:
    found: list[int] = []
    while records := log.read(topic, 0, len(found)):
        found += [int(record.value.split(b" ")[0]) for record in records]
    return found


def check_whole(log: EmbeddedLog, written: int) -> None:
    committed = log.committed("group", "left", 0)
    assert committed is not None
    assert committed.offset == written
    for topic in BOTH:
        assert log.bounds(topic, 0) == (0, written)
        assert numbers(log, topic) == list(range(written))


def test_the_log_stops_while_the_store_still_has_room_and_goes_on_by_itself(small_disk: Path) -> None:
    filler = small_disk / "filler"
    filler.write_bytes(bytes(20 * 1024 * 1024))
    log = open_log(small_disk / "log", FREE_BYTES_MIN)

    written = write_until_full(log, 0)
    assert written > 0
    with pytest.raises(StorageFull, match=r"takes no more.*Nothing was written.*Make room"):
        write_pair(log, written)
    check_whole(log, written)

    filler.unlink()
    write_pair(log, written)
    check_whole(log, written + 1)
    log.close()


def test_a_log_on_a_disk_without_any_room_can_be_read_and_goes_on_by_itself(small_disk: Path) -> None:
    log = open_log(small_disk / "log", 0)
    for number in range(3000):
        write_pair(log, number)
    filler = small_disk / "filler"
    fill(filler)

    written = write_until_full(log, 3000)
    fill(filler)
    for _ in range(3):
        assert write_until_full(log, written) == written
        fill(filler)
        check_whole(log, written)

    filler.unlink()
    write_pair(log, written)
    check_whole(log, written + 1)
    log.close()
    with EmbeddedLog.open(small_disk / "log", free_bytes_min=0) as again:
        check_whole(again, written + 1)


def fill(filler: Path) -> None:
    """Leave not one byte on the disk."""
    with filler.open("ab", buffering=0) as file:
        for size in (1024 * 1024, 4096):
            try:
                while file.write(bytes(size)) == size:
                    pass
            except OSError:
                continue


def test_a_log_that_was_closed_on_a_full_disk_has_everything_when_there_is_room_again(small_disk: Path) -> None:
    log = open_log(small_disk / "log", 0)
    for number in range(100):
        write_pair(log, number)
    filler = small_disk / "filler"
    fill(filler)
    written = write_until_full(log, 100)
    log.close()

    with pytest.raises(StorageFull, match="Nothing was opened"):
        EmbeddedLog.open(small_disk / "log", free_bytes_min=0)
    filler.unlink()

    with EmbeddedLog.open(small_disk / "log", free_bytes_min=0) as again:
        check_whole(again, written)
        write_pair(again, written)
        check_whole(again, written + 1)


def test_a_log_is_not_created_on_a_full_disk_and_nothing_stands_in_the_way_of_the_next_try(small_disk: Path) -> None:
    filler = small_disk / "filler"
    fill(filler)
    with pytest.raises(StorageFull):
        EmbeddedLog.open(small_disk / "log", free_bytes_min=0)
    filler.unlink()

    open_log(small_disk / "log", 0).close()


_UNDER_A_FILE_SIZE_LIMIT = """
import resource, sys
from pathlib import Path
from tests.contract.embedded_log.test_full_disk import check_whole, open_log, write_pair, write_until_full

log = open_log(Path(sys.argv[1]), 0)
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
written = write_until_full(log, 0)
assert written > 10, written
check_whole(log, written)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
write_pair(log, written)
check_whole(log, written + 1)
log.close()
print("went on after", written)
"""


def test_a_limit_on_the_size_of_files_is_a_full_disk_too(tmp_path: Path) -> None:
    child = subprocess.run(
        [sys.executable, "-c", _UNDER_A_FILE_SIZE_LIMIT, str(tmp_path / "log")],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        timeout=60,
        check=False,
    )

    assert child.returncode == 0, child.stderr
    assert child.stdout.startswith("went on after")


def test_retention_makes_room_on_a_disk_that_is_full(small_disk: Path) -> None:
    with open_log(small_disk / "log", 0) as log:
        for written in range(8000):
            write_pair(log, written)
        for topic in BOTH:
            log.create_topic(topic, partitions=1, retention_bytes=500_000)
    log = EmbeddedLog.open(small_disk / "log", free_bytes_min=FREE_BYTES_MIN)
    free_bytes = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
    (small_disk / "filler").write_bytes(bytes(free_bytes - FREE_BYTES_MIN + 1024 * 1024))
    written = write_until_full(log, 8000)
    with pytest.raises(StorageFull):
        write_pair(log, written)

    assert log.maintain().records_expired > 8000

    write_pair(log, written)
    first, end = log.bounds("left", 0)
    assert end == written + 1
    assert log.read("left", 0, 0)[0].offset == first > 0
    log.close()
