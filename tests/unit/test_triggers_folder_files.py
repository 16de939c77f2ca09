"""Whatever is done to the files of a watched folder, every line comes once."""

import logging
import random
import shutil
from pathlib import Path

import pytest

from control_plane.adapters.memory import VirtualClock
from control_plane.errors import StorageFull
from control_plane.triggers.folder import FORGET_AFTER_S, LOOKS_AWAY_MAX
from tests.unit.folder_world import DiesAtWrite, a_folder, append, lines, numbers
from tests.unit.triggers_world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    (tmp_path / "inbox").mkdir()
    return World(root=tmp_path)


@pytest.fixture
def inbox(world: World) -> Path:
    return world.root / "inbox"


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
