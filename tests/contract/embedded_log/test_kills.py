"""A writer that is killed has lost nothing that it acknowledged, and has left nothing half done."""

import os
import signal
from pathlib import Path

import pytest

from control_plane.adapters.embedded_log import Append, Durability, EmbeddedLog
from control_plane.errors import DataInUse
from tests.contract.embedded_log.killing import acknowledged_until_killed, start_writer
from tests.contract.embedded_log.writer import RECORDS_PER_WRITE, ROW_KEYS, ROWS, TOPIC, value_at


@pytest.mark.parametrize("acknowledgements", [1, 2, 17, 150, 2500, 9000])
def test_what_was_acknowledged_survives_the_kill_of_its_writer(tmp_path: Path, acknowledgements: int) -> None:
    acknowledged = acknowledged_until_killed(tmp_path / "log", acknowledgements=acknowledgements)

    with EmbeddedLog.open(tmp_path / "log") as log:
        first, end = log.bounds(TOPIC, 0)
        assert first == 0
        assert acknowledged <= end <= acknowledged + RECORDS_PER_WRITE
        check_whole(log, end)


def test_with_fsync_too(tmp_path: Path) -> None:
    durability: Durability = "fsync"
    acknowledged = acknowledged_until_killed(tmp_path / "log", acknowledgements=100, durability=durability)

    with EmbeddedLog.open(tmp_path / "log", durability=durability) as log:
        end = log.bounds(TOPIC, 0)[1]
        assert end >= acknowledged
        check_whole(log, end)


def test_a_log_lives_through_many_kills(tmp_path: Path) -> None:
    acknowledged = 0

    for kill in range(8):
        said = acknowledged_until_killed(tmp_path / "log", acknowledgements=1 + kill * 40)
        assert said > acknowledged
        acknowledged = said

    with EmbeddedLog.open(tmp_path / "log") as log:
        end = log.bounds(TOPIC, 0)[1]
        assert end >= acknowledged
        check_whole(log, end)


def test_a_second_writer_is_refused_at_once_with_the_pid_of_the_first(tmp_path: Path) -> None:
    with start_writer(tmp_path / "log") as writer:
        assert writer.stdout is not None
        writer.stdout.readline()

        with pytest.raises(DataInUse, match=rf"pid {writer.pid}\b.*Stop that process"):
            EmbeddedLog.open(tmp_path / "log")

        writer.kill()


def test_a_stopped_writer_keeps_its_log_until_it_is_gone(tmp_path: Path) -> None:
    with start_writer(tmp_path / "log") as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        os.kill(writer.pid, signal.SIGSTOP)

        with pytest.raises(DataInUse):
            EmbeddedLog.open(tmp_path / "log")

        writer.kill()
        writer.wait()
    EmbeddedLog.open(tmp_path / "log").close()


def test_a_reader_beside_a_live_writer_sees_new_records_after_a_refresh(tmp_path: Path) -> None:
    with start_writer(tmp_path / "log") as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        with EmbeddedLog.open(tmp_path / "log", read_only=True) as reader:
            seen = reader.bounds(TOPIC, 0)[1]
            for _ in range(20):
                acknowledged = [int(writer.stdout.readline()) for _ in range(200)][-1]
                reader.refresh()
                end = reader.bounds(TOPIC, 0)[1]
                assert end >= acknowledged
                check_records(reader, seen, end)
                committed = reader.committed("group", TOPIC, 0)
                assert committed is not None
                assert committed.offset >= end, "a read that meets a hole looks again, and may then see more"
                seen = end
        writer.kill()


def test_a_log_that_was_killed_takes_new_records_behind_the_old_ones(tmp_path: Path) -> None:
    acknowledged_until_killed(tmp_path / "log", acknowledgements=30)

    with EmbeddedLog.open(tmp_path / "log") as log:
        end = log.bounds(TOPIC, 0)[1]
        (position,) = log.write([Append(TOPIC, 0, b"key", b"value")])

        assert position.offset == end
        assert log.read(TOPIC, 0, end)[0].value == b"value"


def check_whole(log: EmbeddedLog, end: int) -> None:
    """Every record is there, and the group's offset and the rows are those of a whole write."""
    check_records(log, 0, end)
    committed = log.committed("group", TOPIC, 0)
    assert committed is not None
    assert (committed.offset, committed.metadata) == (end, b"mark %d" % end)
    assert end % RECORDS_PER_WRITE == 0
    assert newest_rows(log) == expected_rows(end)


def check_records(log: EmbeddedLog, offset: int, end: int) -> None:
    """Every record is there, in order and as it was written."""
    while offset < end:
        for record in log.read(TOPIC, 0, offset):
            assert record.offset == offset
            assert (record.key, record.value) == (b"key %d" % offset, value_at(offset))
            offset += 1


def newest_rows(log: EmbeddedLog) -> dict[bytes, bytes]:
    """What a reader folds from the compacted topic."""
    at, end = log.bounds(ROWS, 0)
    rows: dict[bytes, bytes] = {}
    while at < end:
        for record in log.read(ROWS, 0, at):
            rows[record.key] = record.value
            at = record.offset + 1
    return rows


def expected_rows(end: int) -> dict[bytes, bytes]:
    """The rows that stand beside the records below an offset."""
    writes = range(end // RECORDS_PER_WRITE)[-ROW_KEYS:]
    return {b"row %d" % (write % ROW_KEYS): b"%d" % ((write + 1) * RECORDS_PER_WRITE) for write in writes}
