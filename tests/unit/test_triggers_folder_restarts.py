"""A watched folder whose trigger stops: it goes on where it was, and repeats nothing that differs."""

from pathlib import Path

import pytest

from control_plane.adapters.memory import VirtualClock
from control_plane.errors import BackboneUnavailable, StorageFull
from tests.unit.folder_world import DiesAtWrite, a_folder, append, lines, numbers
from tests.unit.triggers_world import World, running, settle


@pytest.fixture
def world(tmp_path: Path) -> World:
    (tmp_path / "inbox").mkdir()
    return World(root=tmp_path)


@pytest.fixture
def inbox(world: World) -> Path:
    return world.root / "inbox"


async def test_a_restart_goes_on_where_it_was(world: World, inbox: Path) -> None:
    append(inbox / "a.jsonl", lines(1, 2))
    await (await a_folder(world)).look()
    append(inbox / "a.jsonl", lines(3))
    await (await a_folder(world)).look()

    assert [event.data["n"] for event in world.events] == [1, 2, 3]


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
