"""Appending, reading and committing in the embedded log."""

from collections.abc import Generator
from pathlib import Path

import pytest

from control_plane.adapters.embedded_log import Append, EmbeddedLog, GroupOffset, TopicConfig
from control_plane.adapters.embedded_log.model import METADATA_BYTES_MAX, RECORD_BYTES_MAX
from control_plane.adapters.embedded_log.partition import TAIL_BYTES_MAX, Tail
from control_plane.errors import InvalidMessage, InvalidSettings
from control_plane.ports.backbone import Position, Record

EVENTS = "events.v1"


class HandClock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.ms = 1_700_000_000_000

    def __call__(self) -> int:
        return self.ms


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def log(tmp_path: Path, clock: HandClock) -> Generator[EmbeddedLog, None, None]:
    with EmbeddedLog.open(tmp_path / "log", now_ms=clock) as opened:
        opened.create_topic(EVENTS, partitions=2)
        yield opened


def append(log: EmbeddedLog, *values: bytes, partition: int = 0) -> list[Position]:
    return log.write([Append(EVENTS, partition, b"service/web-1", value) for value in values])


def values(records: list[Record]) -> list[bytes]:
    return [record.value for record in records]


def test_a_record_comes_back_as_it_was_appended(log: EmbeddedLog, clock: HandClock) -> None:
    headers = (("epoch", b"7"), ("empty", b""), ("emoji 🎛", b"\x00\xff"))
    log.write([Append(EVENTS, 1, b"service/web-1", b'{"up":true}', headers)])

    assert log.read(EVENTS, 1, 0) == [
        Record(
            topic=EVENTS,
            partition=1,
            offset=0,
            key=b"service/web-1",
            value=b'{"up":true}',
            recorded_ms=clock.ms,
            headers=headers,
        )
    ]


def test_a_record_read_from_the_store_is_the_one_that_was_read_from_memory(log: EmbeddedLog, tmp_path: Path) -> None:
    log.write([Append(EVENTS, 1, b"", b""), Append(EVENTS, 1, b"key", b"value", (("name", b"header"), ("", b"")))])
    from_memory = log.read(EVENTS, 1, 0)
    log.close()

    with EmbeddedLog.open(tmp_path / "log") as again:
        assert again.read(EVENTS, 1, 0) == from_memory


def test_offsets_are_dense_in_each_partition_and_known_at_return(log: EmbeddedLog) -> None:
    append(log, b"0", b"1")
    positions = log.write([Append(EVENTS, p, b"key", b"value") for p in (1, 0, 1)])

    assert positions == [Position(EVENTS, 1, 0), Position(EVENTS, 0, 2), Position(EVENTS, 1, 1)]
    assert log.bounds(EVENTS, 0) == (0, 3)
    assert log.bounds(EVENTS, 1) == (0, 2)


def test_a_write_that_is_refused_in_its_middle_leaves_nothing(log: EmbeddedLog) -> None:
    append(log, b"before")
    committed = GroupOffset("loop", EVENTS, 0, 1)

    for refused in (
        [Append(EVENTS, 0, b"", b"1"), Append(EVENTS, 2, b"", b"no such partition")],
        [Append(EVENTS, 0, b"", b"1"), Append("unheard.of", 0, b"", b"no such topic")],
    ):
        with pytest.raises(InvalidSettings, match="Nothing was done"):
            log.write(refused, [committed])
    with pytest.raises(InvalidMessage, match="Nothing was appended"):
        log.write([Append(EVENTS, 0, b"", b"1"), Append(EVENTS, 1, b"", bytes(RECORD_BYTES_MAX))], [committed])
    with pytest.raises(InvalidMessage):
        log.write([Append(EVENTS, 0, b"", b"1")], [GroupOffset("loop", EVENTS, 0, 1, bytes(METADATA_BYTES_MAX + 1))])

    assert log.bounds(EVENTS, 0) == (0, 1)
    assert log.bounds(EVENTS, 1) == (0, 0)
    assert log.committed("loop", EVENTS, 0) is None
    assert append(log, b"after") == [Position(EVENTS, 0, 1)]
    assert values(log.read(EVENTS, 0, 0)) == [b"before", b"after"]


def test_too_much_for_one_write_is_refused_whole(log: EmbeddedLog) -> None:
    large = bytes(RECORD_BYTES_MAX - 1000)

    with pytest.raises(InvalidMessage, match="A write has"):
        append(log, *[large] * 5)

    assert log.bounds(EVENTS, 0) == (0, 0)


def test_a_write_of_nothing_is_nothing(log: EmbeddedLog) -> None:
    assert log.write([]) == []


def test_what_a_group_committed_is_there_with_its_metadata_also_after_a_restart(
    log: EmbeddedLog, tmp_path: Path
) -> None:
    append(log, b"0", b"1", b"2")
    first, second = GroupOffset("loop", EVENTS, 0, 2, b"mark \x00"), GroupOffset("executors", EVENTS, 0, 3)
    log.write([], [first])
    log.write([Append(EVENTS, 0, b"", b"3")], [second])

    assert log.committed("loop", EVENTS, 0) == first
    log.close()

    with EmbeddedLog.open(tmp_path / "log") as again:
        assert again.committed("loop", EVENTS, 0) == first
        assert again.committed("executors", EVENTS, 0) == second
        assert again.committed("loop", EVENTS, 1) is None
        assert again.committed("nobody", EVENTS, 0) is None


def test_reading_meets_its_bounds_and_gives_at_least_one_record(log: EmbeddedLog, tmp_path: Path) -> None:
    append(log, *[b"%d" % n * 100 for n in range(10)])

    def check(log: EmbeddedLog) -> None:
        assert len(log.read(EVENTS, 0, 0, max_records=3)) == 3
        assert len(log.read(EVENTS, 0, 0, max_bytes=1)) == 1
        assert len(log.read(EVENTS, 0, 0, max_bytes=500)) in (3, 4)
        assert [r.offset for r in log.read(EVENTS, 0, 8)] == [8, 9]
        assert log.read(EVENTS, 0, 10) == []
        assert log.read(EVENTS, 0, 99) == []
        assert log.read(EVENTS, 0, -5)[0].offset == 0

    check(log)
    log.close()
    with EmbeddedLog.open(tmp_path / "log") as again:
        check(again)


def test_partitions_and_topics_do_not_run_into_one_another(log: EmbeddedLog, tmp_path: Path) -> None:
    log.create_topic("other", partitions=1)
    append(log, b"left")
    append(log, b"right", partition=1)
    log.write([Append("other", 0, b"", b"other")])
    log.close()

    with EmbeddedLog.open(tmp_path / "log") as again:
        assert values(again.read(EVENTS, 0, 0)) == [b"left"]
        assert values(again.read(EVENTS, 1, 0)) == [b"right"]
        assert values(again.read("other", 0, 0)) == [b"other"]


def test_append_time_never_goes_back_in_a_partition(log: EmbeddedLog, clock: HandClock, tmp_path: Path) -> None:
    start_ms = clock.ms
    append(log, b"0")
    clock.ms -= 60_000
    append(log, b"1")
    append(log, b"other", partition=1)
    log.close()

    with EmbeddedLog.open(tmp_path / "log", now_ms=clock) as again:
        append(again, b"2")
        assert [r.recorded_ms for r in again.read(EVENTS, 0, 0)] == [start_ms] * 3
        assert again.read(EVENTS, 1, 0)[0].recorded_ms == clock.ms


def test_a_topic_may_be_created_again_and_takes_over_how_it_is_kept(log: EmbeddedLog, tmp_path: Path) -> None:
    append(log, b"0")
    log.create_topic(EVENTS, partitions=2, retention_ms=1000)
    log.create_topic("policies.v1", partitions=1, compacted=True)
    log.close()

    with EmbeddedLog.open(tmp_path / "log") as again:
        assert dict(again.topics()) == {
            EVENTS: TopicConfig(partitions=2, retention_ms=1000),
            "policies.v1": TopicConfig(partitions=1, compacted=True),
        }
        assert values(again.read(EVENTS, 0, 0)) == [b"0"]


def test_a_topic_cannot_change_its_number_of_partitions(log: EmbeddedLog) -> None:
    with pytest.raises(InvalidSettings, match=r"2 partitions.*asked for with 3.*keys would move"):
        log.create_topic(EVENTS, partitions=3)

    assert log.topics()[EVENTS].partitions == 2


@pytest.mark.parametrize("name", ["", "a b", "a/b", "ü", "a" * 250])
def test_a_topic_needs_a_name_that_kafka_would_take(log: EmbeddedLog, name: str) -> None:
    with pytest.raises(InvalidSettings, match="not allowed"):
        log.create_topic(name, partitions=1)


def test_a_compacted_topic_has_no_retention(log: EmbeddedLog) -> None:
    with pytest.raises(InvalidSettings, match="Choose one"):
        log.create_topic("policies.v1", partitions=1, compacted=True, retention_ms=1000)
    with pytest.raises(InvalidSettings, match="not above 0"):
        log.create_topic("policies.v1", partitions=1, retention_bytes=0)
    with pytest.raises(InvalidSettings, match="Ask for 1 to"):
        log.create_topic("policies.v1", partitions=0)


def test_listeners_hear_of_each_partition_once_per_write_and_can_read_it_then(log: EmbeddedLog) -> None:
    heard: list[tuple[str, int, int]] = []
    unsubscribe = log.on_append(
        lambda topic, partition: heard.append((topic, partition, log.bounds(topic, partition)[1]))
    )

    append(log, b"0", b"1")
    log.write([Append(EVENTS, p, b"", b"") for p in (1, 0, 1)])
    log.write([], [GroupOffset("loop", EVENTS, 0, 1)])
    unsubscribe()
    append(log, b"unheard")

    assert heard == [(EVENTS, 0, 2), (EVENTS, 1, 2), (EVENTS, 0, 3)]


def test_a_listener_that_fails_does_not_undo_the_write(log: EmbeddedLog, caplog: pytest.LogCaptureFixture) -> None:
    heard: list[int] = []

    def fail(topic: str, partition: int) -> None:
        raise ValueError(partition)

    log.on_append(fail)
    log.on_append(lambda topic, partition: heard.append(partition))

    assert append(log, b"0") == [Position(EVENTS, 0, 0)]
    assert heard == [0]
    assert "append listener failed" in caplog.text


def test_the_generation_stays_with_the_log_and_is_new_in_a_new_one(log: EmbeddedLog, tmp_path: Path) -> None:
    generation = log.generation
    log.close()

    with EmbeddedLog.open(tmp_path / "log") as again, EmbeddedLog.open(tmp_path / "other") as other:
        assert again.generation == generation
        assert other.generation != generation


def test_a_reader_sees_what_was_written_when_it_looked_and_more_after_a_refresh(
    log: EmbeddedLog, tmp_path: Path
) -> None:
    append(log, b"0")
    with EmbeddedLog.open(tmp_path / "log", read_only=True) as reader:
        log.create_topic("new", partitions=1)
        append(log, b"1")
        log.write([], [GroupOffset("loop", EVENTS, 0, 2, b"mark")])
        assert values(reader.read(EVENTS, 0, 0)) == [b"0"]

        reader.refresh()

        assert values(reader.read(EVENTS, 0, 0)) == [b"0", b"1"]
        assert reader.generation == log.generation
        assert reader.bounds("new", 0) == (0, 0)
        assert reader.committed("loop", EVENTS, 0) == GroupOffset("loop", EVENTS, 0, 2, b"mark")
        with pytest.raises(AssertionError, match="read-only"):
            append(reader, b"2")


def test_the_newest_records_in_memory_are_bounded_and_readers_do_not_notice(log: EmbeddedLog) -> None:
    value = bytes(1024 * 1024)
    for _ in range(2 * TAIL_BYTES_MAX // len(value)):
        append(log, value)
        append(log, value, partition=1)

    kept = [len(partition.tail) for partition in log._index.partitions.values()]
    assert 0 < sum(kept) * len(value) <= TAIL_BYTES_MAX
    _, end = log.bounds(EVENTS, 0)
    assert [log.read(EVENTS, 0, offset, max_records=1)[0].offset for offset in range(end)] == list(range(end))


def test_a_tail_that_was_cleared_counts_from_nothing(log: EmbeddedLog) -> None:
    append(log, b"0", b"1")
    tail: Tail = log._tail

    tail.clear()

    assert values(log.read(EVENTS, 0, 0)) == [b"0", b"1"]
    append(log, b"2")
    assert values(log.read(EVENTS, 0, 2)) == [b"2"]


def test_a_closed_log_says_so(log: EmbeddedLog) -> None:
    log.close()
    log.close()

    with pytest.raises(AssertionError, match="closed"):
        append(log, b"0")
