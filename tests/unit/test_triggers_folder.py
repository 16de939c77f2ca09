"""A watched folder: every line once, whatever is done to the files, and whenever the trigger stops."""

import logging
import os
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from control_plane.adapters.memory import MemoryPositions, VirtualClock
from control_plane.adapters.system import SystemClock
from control_plane.errors import BackboneUnavailable, StorageFull
from control_plane.messages import Event
from control_plane.triggers import build_trigger
from control_plane.triggers.folder import FORGET_AFTER_S, LOOKS_AWAY_MAX, FolderTrigger
from control_plane.triggers.sorting import BATCH_EVENTS_MAX
from control_plane.triggers.tail import BEYOND_LINE_BYTES
from state.rows import SEEN_IDS_MAX
from tests.unit.triggers_world import World, as_json, running, settle

EVENT = {"type": "order.placed", "subject": '"order/" + string(item.n)'}


@pytest.fixture
def world(tmp_path: Path) -> World:
    (tmp_path / "inbox").mkdir()
    return World(root=tmp_path)


@pytest.fixture
def inbox(world: World) -> Path:
    return world.root / "inbox"


async def a_folder(world: World, **keys: Any) -> FolderTrigger:
    """A trigger that has begun and not looked yet."""
    trigger = build_trigger({"name": "orders", "kind": "folder", "path": "inbox", "event": EVENT, **keys}, world.tools)
    assert isinstance(trigger, FolderTrigger)
    await trigger.begin()
    return trigger


def lines(*numbers: int) -> bytes:
    return b"".join(as_json({"n": n, "note": "x" * 40}) + b"\n" for n in numbers)


def append(path: Path, content: bytes) -> None:
    with path.open("ab") as file:
        file.write(content)


def numbers(world: World) -> list[int]:
    """What came, in order, a repeated event once."""
    once: dict[str, Event] = {event.lineage.message_id: event for event in world.events}
    return [event.data["n"] for event in once.values()]


async def test_lines_become_events_in_their_order(world: World, inbox: Path) -> None:
    append(inbox / "a.jsonl", lines(1, 2))
    trigger = await a_folder(world, event=EVENT | {"data": {"n": "item.n", "from": "file"}})
    await trigger.look()
    append(inbox / "a.jsonl", lines(3))
    await trigger.look()
    await trigger.look()

    assert [event.data for event in world.events] == [{"n": n, "from": "a.jsonl"} for n in (1, 2, 3)]
    assert [event.subject for event in world.events] == ["order/1", "order/2", "order/3"]
    assert {event.lineage.source for event in world.events} == {"trigger/orders"}


async def test_a_running_trigger_looks_by_itself(world: World, inbox: Path) -> None:
    world.clock = SystemClock()  # type: ignore[assignment]
    trigger = await a_folder(world, interval="50ms")
    async with running(trigger):
        append(inbox / "a.jsonl", lines(1))
        await world.until(lambda: numbers(world) == [1])
        append(inbox / "a.jsonl", lines(2))
        await world.until(lambda: numbers(world) == [1, 2])


async def test_a_last_line_that_has_not_ended_waits(world: World, inbox: Path) -> None:
    whole = lines(1)
    append(inbox / "a.jsonl", whole[:10])
    trigger = await a_folder(world)
    await trigger.look()
    assert world.outputs == []

    append(inbox / "a.jsonl", whole[10:] + lines(2)[:-1])
    await trigger.look()

    assert numbers(world) == [1]


async def test_only_files_of_the_pattern_are_read(world: World, inbox: Path) -> None:
    for name in ("a.jsonl", "a.json", "b.jsonl.tmp", "c.log"):
        append(inbox / name, lines(1))
    (inbox / "folder.jsonl").mkdir()
    os.mkfifo(inbox / "pipe.jsonl")

    await (await a_folder(world)).look()

    assert numbers(world) == [1]


async def test_cloud_events_in_lines_pass_as_they_are(world: World, inbox: Path) -> None:
    event = {"specversion": "1.0", "id": "e1", "source": "shop", "type": "order.placed", "subject": "order/1"}
    append(inbox / "a.jsonl", as_json(event) + b"\r\n\n  \n" + as_json(event | {"id": "e2"}) + b"\n")

    await (await a_folder(world, format="cloudevents", event={})).look()

    assert world.ids == ["e1", "e2"]
    assert world.outputs[0].value == as_json(event)


async def test_a_bad_line_is_a_dead_letter_with_its_file_and_line_and_the_next_one_follows(
    world: World, inbox: Path
) -> None:
    append(inbox / "a.jsonl", lines(1) + b"{no json}\n" + lines(2) + b'{"m": 3}\n' + b"\xff\n[]\n" + lines(4))

    await (await a_folder(world)).look()

    assert numbers(world) == [1, 2, 4]
    assert [letter.detail.split(": ")[0] for letter in world.letters] == [f"a.jsonl:{n}" for n in (2, 4, 5, 6)]
    assert [letter.code for letter in world.letters] == ["json_broken", "unmappable", "json_broken", "unmappable"]
    first, second, *_ = world.letters
    assert (first.record, first.offset, first.topic) == (b"{no json}", len(lines(1)), "trigger/orders")
    assert second.field == "n"


async def test_a_line_that_is_too_long_is_cut_and_kept_and_the_next_one_follows(world: World, inbox: Path) -> None:
    longer = 3 * (1_000 + BEYOND_LINE_BYTES)
    content = lines(1) + b"y" * 1_001 + b"\n" + lines(2) + b"x" * longer + b"\n" + lines(3)
    append(inbox / "a.jsonl", content[:-100])
    trigger = await a_folder(world, line_bytes_max=1_000)
    for _ in range(3):
        await trigger.look()
    append(inbox / "a.jsonl", content[-100:])
    await trigger.look()

    assert numbers(world) == [1, 2, 3]
    assert [(letter.code, letter.detail.split(": ")[0]) for letter in world.letters] == [
        ("line_too_long", "a.jsonl:2"),
        ("line_too_long", "a.jsonl:4"),
    ]


async def test_a_restart_in_the_middle_of_a_line_that_is_too_long_skips_the_rest_of_it(
    world: World, inbox: Path
) -> None:
    append(inbox / "a.jsonl", b"x" * 100_000)
    await (await a_folder(world, line_bytes_max=1_000)).look()
    append(inbox / "a.jsonl", b"x" * 100_000 + b"\n" + lines(1))

    await (await a_folder(world, line_bytes_max=1_000)).look()

    assert numbers(world) == [1]
    assert [letter.code for letter in world.letters] == ["line_too_long"]


async def test_a_batch_is_small_enough_to_be_repeated_without_harm(world: World, inbox: Path) -> None:
    append(inbox / "a.jsonl", lines(*range(1_000)))

    await (await a_folder(world)).look()

    assert numbers(world) == list(range(1_000))
    assert world.appends == -(-1_000 // BATCH_EVENTS_MAX)
    assert BATCH_EVENTS_MAX <= SEEN_IDS_MAX // 2, "or a row forgets the beginning of a batch before its end is repeated"


async def test_a_long_file_does_not_hold_up_the_others(world: World, inbox: Path) -> None:
    append(inbox / "a.jsonl", lines(*range(1_000)))
    append(inbox / "b.jsonl", lines(5_000))

    await (await a_folder(world)).look()

    assert numbers(world).index(5_000) <= 2 * BATCH_EVENTS_MAX


# Restarts


async def test_a_restart_goes_on_where_it_was(world: World, inbox: Path) -> None:
    append(inbox / "a.jsonl", lines(1, 2))
    await (await a_folder(world)).look()
    append(inbox / "a.jsonl", lines(3))
    await (await a_folder(world)).look()

    assert [event.data["n"] for event in world.events] == [1, 2, 3]


class DiesAtWrite(MemoryPositions):
    """Positions whose n-th write from now on never happens, because the process dies before it."""

    def __init__(self) -> None:
        super().__init__()
        self.dies_in: int | None = None

    async def write(self, trigger: str, positions: Any) -> None:
        if self.dies_in is not None:
            if self.dies_in == 0:
                self.dies_in = None
                raise StorageFull("The process dies here.")
            self.dies_in -= 1
        await super().write(trigger, positions)


@pytest.mark.parametrize("writes", range(4))
async def test_a_crash_between_events_and_position_repeats_them_byte_by_byte(
    world: World, inbox: Path, writes: int
) -> None:
    world.positions = positions = DiesAtWrite()
    append(inbox / "a.jsonl", lines(*range(100)) + b"no json\n")
    positions.dies_in = writes
    trigger = await a_folder(world)
    if writes < 3:
        with pytest.raises(StorageFull):
            await trigger.look()
    before = len(world.outputs)
    await (await a_folder(world)).look()

    again = [output for output in world.outputs[before:] if output in world.outputs[:before]]
    assert numbers(world) == list(range(100))
    assert len({letter.lineage.message_id for letter in world.letters}) <= 1
    assert len(world.outputs) == 101 + len(again)


async def test_a_log_that_is_away_is_waited_for_and_nothing_is_lost(world: World, inbox: Path) -> None:
    world.append_raises = [BackboneUnavailable("away")]
    append(inbox / "a.jsonl", lines(1))
    async with running(await a_folder(world)):
        while world.append_raises:
            await settle()
        assert isinstance(world.clock, VirtualClock)
        await settle()
        assert world.events == []
        world.clock.advance(1_000)
        await world.until(lambda: numbers(world) == [1])


# What is done to files


async def test_a_file_that_is_renamed_is_read_to_its_end_and_its_successor_from_its_beginning(
    world: World, inbox: Path
) -> None:
    trigger = await a_folder(world)
    append(inbox / "a.jsonl", lines(1))
    await trigger.look()
    append(inbox / "a.jsonl", lines(2))
    (inbox / "a.jsonl").rename(inbox / "a.jsonl.1")
    append(inbox / "a.jsonl", lines(3))
    await trigger.look()
    append(inbox / "a.jsonl.1", lines(4))
    await trigger.look()

    assert [event.data["n"] for event in world.events] == [1, 2, 3, 4]


async def test_a_file_that_is_renamed_while_nothing_runs_is_still_known(world: World, inbox: Path) -> None:
    append(inbox / "a.jsonl", lines(1))
    await (await a_folder(world)).look()
    append(inbox / "a.jsonl", lines(2))
    (inbox / "a.jsonl").rename(inbox / "a.jsonl.1")
    append(inbox / "a.jsonl", lines(3))
    await (await a_folder(world)).look()

    assert [event.data["n"] for event in world.events] == [1, 2, 3]


@pytest.mark.parametrize("after", [(9,), (1, 2, 9), (7, 8, 9)])
async def test_a_file_that_is_truncated_begins_anew_also_when_it_says_the_same_again(
    world: World, inbox: Path, after: tuple[int, ...]
) -> None:
    """Shorter, the same length and another content, longer: what comes after the truncation is new."""
    trigger = await a_folder(world)
    append(inbox / "a.jsonl", lines(1, 2))
    await trigger.look()
    (inbox / "a.jsonl").write_bytes(b"")
    if after[0] == 1:
        await trigger.look()
    append(inbox / "a.jsonl", lines(*after))
    await trigger.look()

    assert [event.data["n"] for event in world.events] == [1, 2, *after]
    assert len(set(world.ids)) == 2 + len(after)


@pytest.mark.parametrize("seen_between", [False, True])
@pytest.mark.parametrize("name", ["a.jsonl.1", "a-20260101.jsonl"])
async def test_a_file_that_is_copied_and_truncated_is_read_to_its_end_in_the_copy(
    world: World, inbox: Path, name: str, seen_between: bool
) -> None:
    trigger = await a_folder(world, glob="a*")
    append(inbox / "a.jsonl", lines(*range(50)))
    await trigger.look()
    append(inbox / "a.jsonl", lines(50))
    shutil.copy(inbox / "a.jsonl", inbox / name)
    if seen_between:
        await trigger.look()
    (inbox / "a.jsonl").write_bytes(lines(51))
    await trigger.look()
    append(inbox / "a.jsonl", lines(52))
    await trigger.look()

    assert sorted(numbers(world)) == list(range(53))


async def test_a_copy_that_appears_after_the_truncation_was_seen_is_known_too(world: World, inbox: Path) -> None:
    trigger = await a_folder(world, glob="a*")
    append(inbox / "a.jsonl", lines(*range(50)))
    await trigger.look()
    shutil.copy(inbox / "a.jsonl", world.root / "copy")
    (inbox / "a.jsonl").write_bytes(lines(50))
    await trigger.look()
    (world.root / "copy").rename(inbox / "a.jsonl.1")
    await trigger.look()

    assert numbers(world) == list(range(51))


async def test_a_copy_that_is_not_yet_whole_is_waited_for(world: World, inbox: Path) -> None:
    trigger = await a_folder(world, glob="a*")
    content = lines(*range(50))
    append(inbox / "a.jsonl", content)
    await trigger.look()
    append(inbox / "a.jsonl.1", content[:2_000])
    await trigger.look()
    append(inbox / "a.jsonl.1", content[2_000:] + lines(50))
    await trigger.look()

    assert numbers(world) == list(range(51))


async def test_two_files_that_begin_alike_are_two_files(world: World, inbox: Path) -> None:
    trigger = await a_folder(world)
    append(inbox / "job1.jsonl", lines(1))
    await trigger.look()
    append(inbox / "job2.jsonl", lines(1))
    append(inbox / "job10.jsonl", lines(1))
    await trigger.look()

    assert [event.data["n"] for event in world.events] == [1, 1, 1]
    assert len(set(world.ids)) == 3


async def test_a_file_that_has_left_and_comes_back_is_a_new_one_and_in_the_end_forgotten(
    world: World, inbox: Path
) -> None:
    trigger = await a_folder(world)
    append(inbox / "a.jsonl", lines(1))
    await trigger.look()
    (inbox / "a.jsonl").rename(world.root / "elsewhere")
    for _ in range(LOOKS_AWAY_MAX):
        await trigger.look()
    (world.root / "elsewhere").rename(inbox / "b.jsonl")
    await trigger.look()
    assert [event.data["n"] for event in world.events] == [1, 1]

    assert isinstance(world.clock, VirtualClock)
    world.clock.advance(int(FORGET_AFTER_S * 1000) + 1)
    await trigger.look()
    kept = await world.positions.read("orders")
    assert [mark["file"] for mark in kept.values()] == ["b.jsonl"]


async def test_a_look_that_misses_a_file_does_not_forget_it(world: World, inbox: Path) -> None:
    """A folder that is listed while a file is renamed may not show it at all."""
    trigger = await a_folder(world)
    append(inbox / "a.jsonl", lines(1))
    await trigger.look()
    (inbox / "a.jsonl").rename(world.root / "a.jsonl")
    for _ in range(LOOKS_AWAY_MAX - 1):
        await trigger.look()
    (world.root / "a.jsonl").rename(inbox / "a.jsonl")
    append(inbox / "a.jsonl", lines(2))
    await trigger.look()

    assert [event.data["n"] for event in world.events] == [1, 2]


async def test_a_folder_that_is_not_there_is_said_once_and_waited_for(
    world: World, inbox: Path, caplog: pytest.LogCaptureFixture
) -> None:
    inbox.rmdir()
    trigger = await a_folder(world)
    with caplog.at_level(logging.WARNING):
        await trigger.look()
        await trigger.look()
    inbox.mkdir()
    append(inbox / "a.jsonl", lines(1))
    await trigger.look()

    assert [record.getMessage() for record in caplog.records] == ["a watched folder cannot be read"]
    assert numbers(world) == [1]


class Writer:
    """Writes numbered lines in pieces, and does to its files what writers and rotation do."""

    def __init__(self, inbox: Path, chance: random.Random) -> None:
        self._inbox = inbox
        self._chance = chance
        self._log = inbox / "log.jsonl"
        self._pending = b""
        self._rotations = 0
        self.written = 0

    def write(self) -> None:
        count = self._chance.choice([1, 3, 70])
        self._pending += lines(*range(self.written, self.written + count))
        self.written += count
        cut = self._chance.randrange(len(self._pending) + 1)
        append(self._log, self._pending[:cut])
        self._pending = self._pending[cut:]

    def end_the_line(self) -> None:
        append(self._log, self._pending)
        self._pending = b""

    def rename(self) -> None:
        self.end_the_line()
        self._log.rename(self._rotated())

    def copy_and_truncate(self) -> None:
        append(self._log, lines(self.written))
        self.written += 1
        shutil.copy(self._log, self._rotated())
        self._log.write_bytes(b"")

    def delete_the_rotated(self) -> None:
        for old in self._inbox.glob("log.jsonl.*"):
            old.unlink()

    def _rotated(self) -> Path:
        self._rotations += 1
        return self._inbox / f"log.jsonl.{self._rotations}"


@pytest.mark.parametrize("seed", range(12))
async def test_whatever_is_done_to_the_files_every_line_comes_once(world: World, inbox: Path, seed: int) -> None:
    """Lines in pieces, renames, copies with truncation, deletions of what was read, stops and crashes, at random."""
    chance = random.Random(seed)
    world.positions = positions = DiesAtWrite()
    writer = Writer(inbox, chance)
    trigger = await a_folder(world, glob="log*")

    for _ in range(150):
        act = chance.choice(["write", "write", "write", "look", "look", "rename", "copy", "restart", "delete"])
        if act == "write":
            writer.write()
        elif act == "rename":
            writer.rename()
        elif act == "restart":
            trigger = await a_folder(world, glob="log*")
        else:
            if act != "look":
                writer.end_the_line()
            positions.dies_in = chance.choice([None, None, 0, 1, 2]) if act == "look" else None
            try:
                await trigger.look()
            except StorageFull:
                trigger = await a_folder(world, glob="log*")
        if act == "copy":
            writer.copy_and_truncate()
        if act == "delete":
            writer.delete_the_rotated()
    writer.end_the_line()
    positions.dies_in = None
    await (await a_folder(world, glob="log*")).look()

    assert sorted(numbers(world)) == list(range(writer.written))
    copies: dict[str, bytes] = {}
    for output, name in zip(world.outputs, world.ids, strict=True):
        assert copies.setdefault(name, output.value) == output.value
