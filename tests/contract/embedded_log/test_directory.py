"""A directory that cannot be used: one clear error, and it is left as it was."""

import fcntl
import json
import os
import subprocess
from collections.abc import Generator
from pathlib import Path

import pytest

from control_plane.adapters.embedded_log import EmbeddedLog
from control_plane.errors import DataInUse, DataTooNew, InvalidSettings
from tests.contract.embedded_log.damaging import RECORDS, TOPIC, closed_log, contents


def listing(path: Path) -> dict[str, tuple[int, int]]:
    """Every file with its size and the time of its last change: what must not move when nothing may be touched."""
    return {str(p): (p.stat().st_size, p.stat().st_mtime_ns) for p in sorted(path.rglob("*"))}


@pytest.mark.parametrize("read_only", [False, True])
def test_a_log_of_a_newer_format_is_refused_and_not_touched(tmp_path: Path, read_only: bool) -> None:
    path = closed_log(tmp_path / "log")
    said = json.loads((path / "format.json").read_text())
    (path / "format.json").write_text(json.dumps(said | {"format": 2, "unheard_of": True}))
    before = listing(path)

    with pytest.raises(DataTooNew, match=r"format 2.*knows formats up to 1.*Run the newer Setpoint"):
        EmbeddedLog.open(path, read_only=read_only)

    assert listing(path) == before


def test_a_log_of_a_newer_format_says_so_even_while_it_is_in_use(tmp_path: Path) -> None:
    path = closed_log(tmp_path / "log")
    (path / "format.json").write_text('{"format": 7, "generation": "0123456789abcdef"}')
    with (path / "owner").open("r+") as owner:
        fcntl.flock(owner, fcntl.LOCK_EX)

        with pytest.raises(DataTooNew):
            EmbeddedLog.open(path)


def test_the_same_process_cannot_open_a_log_twice(tmp_path: Path) -> None:
    with EmbeddedLog.open(tmp_path / "log"), pytest.raises(DataInUse, match=rf"pid {os.getpid()}\b"):
        EmbeddedLog.open(tmp_path / "log")

    EmbeddedLog.open(tmp_path / "log").close()


def test_a_failed_start_does_not_keep_the_lock(tmp_path: Path) -> None:
    path = closed_log(tmp_path / "log")
    format_text = (path / "format.json").read_text()
    (path / "format.json").write_text("{")
    for _ in range(2):
        with pytest.raises(Exception, match="damaged"):
            EmbeddedLog.open(path)
    (path / "format.json").write_text(format_text)

    EmbeddedLog.open(path).close()


def test_a_file_in_place_of_the_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("my notes")

    with pytest.raises(InvalidSettings, match="is not a directory"):
        EmbeddedLog.open(tmp_path / "log")

    assert (tmp_path / "log").read_text() == "my notes"


def test_a_directory_of_somebody_else_is_refused_and_not_touched(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("my notes")
    before = listing(tmp_path)

    with pytest.raises(InvalidSettings, match=r"not empty.*notes\.txt"):
        EmbeddedLog.open(tmp_path)

    assert listing(tmp_path) == before


def test_reading_where_there_is_no_log_is_refused_and_creates_none(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match="There is no log"):
        EmbeddedLog.open(tmp_path / "log", read_only=True)

    assert not (tmp_path / "log").exists()


def test_a_creation_that_was_cut_short_begins_again(tmp_path: Path) -> None:
    with EmbeddedLog.open(tmp_path / "log") as log:
        first = log.generation
    (tmp_path / "log" / "format.json").unlink()

    with EmbeddedLog.open(tmp_path / "log") as log:
        assert log.generation != first
        log.create_topic(TOPIC, partitions=1)


@pytest.fixture
def unwritable_log(tmp_path: Path) -> Generator[Path, None, None]:
    """A closed log that this process may only read. Permissions do not bind root, so root gets a read-only mount."""
    path = closed_log(tmp_path / "log")
    if os.getuid() == 0:
        mounted = subprocess.run(
            ["mount", "--bind", "-o", "ro", str(path), str(path)], capture_output=True, check=False
        )
        if mounted.returncode != 0:
            pytest.skip("root cannot mount here, and no permission binds it: a read-only directory cannot be made")
    else:
        path.chmod(0o555)
        for place in path.rglob("*"):
            place.chmod(0o555 if place.is_dir() else 0o444)
    yield path
    if os.getuid() == 0:
        subprocess.run(["umount", "-l", str(path)], check=True)
    path.chmod(0o755)
    (path / "rocksdb").chmod(0o755)


def test_a_directory_that_cannot_be_written_is_one_clear_error_and_can_still_be_read(unwritable_log: Path) -> None:
    before = contents(unwritable_log)

    with pytest.raises(InvalidSettings, match=r"cannot be written.*Nothing was opened.*Make the directory writable"):
        EmbeddedLog.open(unwritable_log)
    with EmbeddedLog.open(unwritable_log, read_only=True) as log:
        assert log.bounds(TOPIC, 0) == (0, RECORDS)

    assert contents(unwritable_log) == before


def test_a_parent_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match="cannot be written"):
        EmbeddedLog.open(Path("/proc/setpoint/log"))
