"""Retention and compaction of the embedded log."""

import random
from collections.abc import Generator
from pathlib import Path

import pytest

from control_plane.adapters.embedded_log import Append, EmbeddedLog, Maintained
from control_plane.adapters.embedded_log.compaction import TOMBSTONE_KEPT_MS
from control_plane.adapters.embedded_log.maintenance import ROUND_RECORDS_MAX

TOPIC = "kept"


class World:
    """A log whose clock the test moves and which it may close and open again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.now_ms = 1_700_000_000_000
        self.log = EmbeddedLog.open(path, now_ms=lambda: self.now_ms)

    def reopen(self) -> None:
        self.log.close()
        self.log = EmbeddedLog.open(self.path, now_ms=lambda: self.now_ms)

    def append(self, *pairs: tuple[str, str]) -> None:
        self.log.write([Append(TOPIC, 0, key.encode(), value.encode()) for key, value in pairs])

    def maintain(self) -> Maintained:
        """Rounds until there is nothing left to do; what they did together."""
        expired = compacted = 0
        more = True
        while more:
            done = self.log.maintain(dirty_records_min=1)
            expired, compacted, more = expired + done.records_expired, compacted + done.records_compacted, done.more
        return Maintained(records_expired=expired, records_compacted=compacted)

    def kept(self) -> list[tuple[int, str, str]]:
        first, end = self.log.bounds(TOPIC, 0)
        found: list[tuple[int, str, str]] = []
        at = first
        while at < end:
            for record in self.log.read(TOPIC, 0, at):
                found.append((record.offset, record.key.decode(), record.value.decode()))
                at = record.offset + 1
        return found


@pytest.fixture
def world(tmp_path: Path) -> Generator[World, None, None]:
    opened = World(tmp_path / "log")
    yield opened
    opened.log.close()


def test_without_retention_everything_stays(world: World) -> None:
    world.log.create_topic(TOPIC, partitions=1)
    world.append(("a", "1"))
    world.now_ms += 10**12

    assert world.maintain() == Maintained()
    assert world.kept() == [(0, "a", "1")]


def test_what_is_too_old_goes_and_the_newest_record_always_stays(world: World) -> None:
    world.log.create_topic(TOPIC, partitions=1, retention_ms=1000)
    for n in range(10):
        world.append(("a", str(n)))
        world.now_ms += 200

    assert world.maintain().records_expired == 5
    assert [offset for offset, _, _ in world.kept()] == [5, 6, 7, 8, 9]
    assert world.log.bounds(TOPIC, 0) == (5, 10)

    world.now_ms += 10**9
    assert world.maintain().records_expired == 4
    world.reopen()
    assert world.log.bounds(TOPIC, 0) == (9, 10)
    world.append(("a", "10"))
    assert world.kept() == [(9, "a", "9"), (10, "a", "10")]


def test_what_is_too_much_goes_oldest_first(world: World) -> None:
    world.log.create_topic(TOPIC, partitions=1, retention_bytes=50_000)
    for _ in range(20):
        world.append(*[("key", "v" * 100)] * 100)

    expired = world.maintain().records_expired
    kept = world.kept()

    assert expired + len(kept) == 2000
    assert 40_000 < len(kept) * 130 <= 55_000
    assert kept[0][0] == expired
    world.reopen()
    assert world.kept() == kept
    assert world.maintain().records_expired == 0


def test_a_reader_that_asks_for_what_is_gone_starts_at_the_first_kept_record(world: World) -> None:
    world.log.create_topic(TOPIC, partitions=1, retention_ms=1000)
    world.append(*[("a", str(n)) for n in range(200)])
    world.now_ms += 5000
    world.append(("a", "new"))
    world.maintain()

    for _ in range(2):
        assert [record.offset for record in world.log.read(TOPIC, 0, 3)] == [200]
        world.reopen()


def test_retention_may_come_later_and_is_taken_over(world: World) -> None:
    world.log.create_topic(TOPIC, partitions=1)
    world.append(("a", "1"), ("a", "2"))
    world.now_ms += 5000
    world.log.create_topic(TOPIC, partitions=1, retention_ms=1000)

    assert world.maintain().records_expired == 1


def test_compaction_keeps_the_newest_record_of_each_key_at_its_offset(world: World) -> None:
    world.log.create_topic(TOPIC, partitions=1, compacted=True)
    world.append(("a", "1"), ("b", "1"), ("a", "2"), ("c", "1"), ("a", "3"), ("b", "2"))

    assert world.maintain().records_compacted == 2
    expected = [(1, "b", "1"), (3, "c", "1"), (4, "a", "3"), (5, "b", "2")]
    assert world.kept() == expected, "the newest record is not looked at yet, so it has replaced nothing"
    world.reopen()
    assert world.kept() == expected
    assert world.log.bounds(TOPIC, 0) == (1, 6)

    world.append(("c", "2"), ("d", "1"))
    world.maintain()
    assert world.kept() == [(4, "a", "3"), (5, "b", "2"), (6, "c", "2"), (7, "d", "1")]


def test_a_tombstone_stays_for_a_while_and_then_goes_with_its_key(world: World) -> None:
    world.log.create_topic(TOPIC, partitions=1, compacted=True)
    world.append(("a", "1"), ("b", "1"), ("a", ""), ("c", "1"))

    world.maintain()
    assert world.kept() == [(1, "b", "1"), (2, "a", ""), (3, "c", "1")]
    world.now_ms += TOMBSTONE_KEPT_MS - 1000
    assert world.maintain() == Maintained()
    world.now_ms += 2000
    world.reopen()

    assert world.maintain().records_compacted == 1
    assert world.kept() == [(1, "b", "1"), (3, "c", "1")]
    world.append(("a", "again"), ("d", "1"))
    world.maintain()
    assert world.kept() == [(1, "b", "1"), (3, "c", "1"), (4, "a", "again"), (5, "d", "1")]


def test_a_key_that_came_back_is_not_lost_with_its_old_tombstone(world: World) -> None:
    world.log.create_topic(TOPIC, partitions=1, compacted=True)
    world.append(("a", ""), ("b", "1"))
    world.maintain()
    world.append(("a", "back"), ("c", "1"))
    world.maintain()
    world.now_ms += TOMBSTONE_KEPT_MS + 1

    world.maintain()

    assert world.kept() == [(1, "b", "1"), (2, "a", "back"), (3, "c", "1")]


def test_a_round_is_bounded_and_says_that_there_is_more(world: World) -> None:
    world.log.create_topic(TOPIC, partitions=1, compacted=True)
    records = 3 * ROUND_RECORDS_MAX
    world.append(*[(f"key {n % 10}", str(n)) for n in range(records)])

    first = world.log.maintain()
    assert first.more
    assert 0 < first.records_compacted <= ROUND_RECORDS_MAX
    world.maintain()

    assert len(world.kept()) in (10, 11)
    assert world.log.bounds(TOPIC, 0)[1] == records


def test_few_new_records_are_left_alone_until_there_are_enough(world: World) -> None:
    world.log.create_topic(TOPIC, partitions=1, compacted=True)
    world.append(*[("a", str(n)) for n in range(100)])

    assert world.log.maintain() == Maintained()
    assert world.log.maintain(dirty_records_min=50).records_compacted == 98


def test_one_busy_partition_does_not_keep_the_others_from_their_turn(world: World) -> None:
    world.log.create_topic(TOPIC, partitions=4, compacted=True)
    for partition in range(4):
        world.log.write([Append(TOPIC, partition, b"key", b"%d" % n) for n in range(ROUND_RECORDS_MAX)])

    for _ in range(6):
        world.log.maintain(dirty_records_min=1)
        world.log.write([Append(TOPIC, 0, b"key", b"%d" % n) for n in range(ROUND_RECORDS_MAX)])

    assert all(world.log.bounds(TOPIC, partition)[0] > 0 for partition in range(4))


@pytest.mark.parametrize("seed", range(20))
def test_whatever_is_written_and_compacted_the_newest_value_of_each_key_is_what_a_reader_folds(
    world: World, seed: int
) -> None:
    draw = random.Random(seed)
    world.log.create_topic(TOPIC, partitions=1, compacted=True)
    folded: dict[str, str] = {}

    for n in range(60):
        pairs = [(f"key {draw.randrange(12)}", draw.choice(["", str(n)])) for _ in range(draw.randrange(1, 9))]
        world.append(*pairs)
        folded.update(pairs)
        world.now_ms += draw.choice([0, 1000, TOMBSTONE_KEPT_MS // 4])
        if draw.random() < 0.5:
            world.log.maintain(dirty_records_min=draw.choice([1, 10]))
        if draw.random() < 0.1:
            world.reopen()
    world.maintain()

    kept = world.kept()
    found = {key: value for _, key, value in kept}
    assert {key: value for key, value in found.items() if value} == {k: v for k, v in folded.items() if v}
    keys_but_for_the_newest = [key for _, key, _ in kept[:-1]]
    assert len(keys_but_for_the_newest) == len(set(keys_but_for_the_newest))
    world.reopen()
    assert world.kept() == kept
