"""What a partition's owner appends by itself: time while something waits, and controls when others are wanted."""

import asyncio
import json
from typing import Any

import pytest

from control_plane.adapters.memory import MemoryBackbone, MemoryLog, VirtualClock
from control_plane.caretaker import PATIENCE_MS, TICK_INTERVAL_S, TICK_REPEAT_MS, Caretaker
from control_plane.messages import Command, topics
from control_plane.messages.wire import decode, encode
from control_plane.partition import Partitions
from control_plane.ports.backbone import Output
from tests import builders

EXPECTS = {"where": "rows.health.rss < 200.0", "within": "10s"}
FIRST = builders.control_set(builders.intent(), builders.row(), builders.rule(expects=EXPECTS))
SECOND = builders.control_set(builders.intent(), builders.row())


class World:
    """A loop with its caretaker, in two partitions."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.log = MemoryLog(self.clock.now_ms, partitions=2)
        self.backbone = MemoryBackbone(self.log)
        self.wanted = FIRST.revision
        self.partitions = Partitions(engine=builders.ScriptedEngine(), controls=builders.ControlsAt(FIRST, SECOND))
        self.backbone.own_events(self.partitions)
        self.caretaker = Caretaker(self.backbone, self.partitions, self.clock, lambda: self.wanted)

    async def look(self) -> None:
        await self.caretaker.look()
        await self.backbone.settle()

    def appended(self, event_type: str, partition: int = 0) -> list[dict[str, Any]]:
        events = [json.loads(record.value) for record in self.log.read(topics.EVENTS, partition)]
        return [event for event in events if event["type"] == event_type]

    async def open_window(self) -> None:
        """An action whose effect is watched for ten seconds."""
        await self.look()
        await self.backbone.append([builders.output(builders.event(data={"rss": 500.0}), 0)])
        await self.backbone.settle()
        command = decode(self.log.fetch(topics.COMMANDS, 0, 0, 1)[0].value, Command)
        await self.backbone.append([Output(topics.EVENTS, b"key", encode(builders.outcome(command)), 0)])
        await self.backbone.settle()


@pytest.fixture
async def world() -> Any:
    found = World()
    await found.backbone.start()
    yield found
    await found.backbone.stop()


async def test_every_partition_adopts_the_wanted_controls_once(world: World) -> None:
    for _ in range(3):
        await world.look()

    assert world.partitions.owned() == {0: FIRST.revision, 1: FIRST.revision}
    assert [len(world.appended("controls.adopted", partition)) for partition in (0, 1)] == [1, 1]


async def test_an_adoption_that_is_on_its_way_is_not_sent_again(world: World) -> None:
    await world.caretaker.look()
    await world.caretaker.look()
    await world.backbone.settle()

    assert len(world.appended("controls.adopted")) == 1


async def test_other_controls_are_adopted_when_they_are_wanted_and_the_first_again_after_them(world: World) -> None:
    for wanted in (FIRST, SECOND, FIRST):
        world.wanted = wanted.revision
        await world.look()
        world.clock.advance(1)

    revisions = [event["data"]["revision"] for event in world.appended("controls.adopted")]
    assert revisions == [FIRST.revision, SECOND.revision, FIRST.revision]


async def test_no_time_is_kept_while_nothing_waits_for_it(world: World) -> None:
    world.clock.advance(60_000)
    await world.look()

    assert world.appended("clock.tick") == []


async def test_a_tick_comes_when_a_window_is_over_and_not_before(world: World) -> None:
    await world.open_window()

    world.clock.advance(9_999)
    await world.look()
    assert world.appended("clock.tick") == []
    world.clock.advance(1)
    await world.look()

    assert len(world.appended("clock.tick")) == 1
    assert world.appended("clock.tick", partition=1) == []
    assert len(world.appended("effect.judged")) == 1


async def test_a_tick_that_has_not_helped_yet_is_repeated_after_a_while_only(world: World) -> None:
    await world.open_window()
    world.clock.advance(10_000)
    await world.caretaker.look()

    await world.caretaker.look()
    world.clock.advance(TICK_REPEAT_MS - 1)
    await world.caretaker.look()
    assert len(world.appended("clock.tick")) == 1
    world.clock.advance(1)
    await world.caretaker.look()

    assert len(world.appended("clock.tick")) == 2
    await world.backbone.settle()
    assert len(world.appended("effect.judged")) == 1


async def test_it_looks_again_and_again_until_it_is_stopped(world: World) -> None:
    running = asyncio.create_task(world.caretaker.run())
    await asyncio.sleep(0)
    await world.backbone.settle()
    world.wanted = SECOND.revision

    world.clock.advance(round(TICK_INTERVAL_S * 1000))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await world.backbone.settle()

    assert world.partitions.owned()[0] == SECOND.revision
    running.cancel()
    await asyncio.wait([running])


async def test_after_it_was_held_up_others_have_the_first_word(world: World) -> None:
    await world.open_window()
    running = asyncio.create_task(world.caretaker.run())
    await turns(world, 20)

    world.clock.advance(30_000)  # The machine slept.
    await asyncio.sleep(0)
    await world.backbone.settle()
    assert world.appended("clock.tick") == []

    await turns(world, PATIENCE_MS // 50)
    assert len(world.appended("clock.tick")) == 1
    running.cancel()
    await asyncio.wait([running])


async def test_however_often_it_is_held_up_time_is_kept(world: World) -> None:
    await world.open_window()
    running = asyncio.create_task(world.caretaker.run())

    for _ in range(20):
        world.clock.advance(600)
        await turns(world, 0)

    assert len(world.appended("effect.judged")) == 1
    running.cancel()
    await asyncio.wait([running])


async def turns(world: World, many: int) -> None:
    """Let the caretaker look as often as it does, and what it appends be folded."""
    for _ in range(many + 1):
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await world.backbone.settle()
        world.clock.advance(round(TICK_INTERVAL_S * 1000) if many else 0)
