"""A watched folder: every line becomes one event, or a dead letter with its place."""

import os
from pathlib import Path

import pytest

from control_plane.adapters.system import SystemClock
from control_plane.triggers.sorting import BATCH_EVENTS_MAX
from control_plane.triggers.tail import BEYOND_LINE_BYTES
from state.rows import SEEN_IDS_MAX
from tests.unit.folder_world import EVENT, a_folder, append, lines, numbers
from tests.unit.triggers_world import World, as_json, running


@pytest.fixture
def world(tmp_path: Path) -> World:
    (tmp_path / "inbox").mkdir()
    return World(root=tmp_path)


@pytest.fixture
def inbox(world: World) -> Path:
    return world.root / "inbox"


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
