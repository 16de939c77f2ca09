"""An event that an agent failed on, shown to that agent once more: it decides, and nobody else decides twice."""

from typing import Any

import msgspec
import pytest

from control_plane.catalogue import ControlSet
from control_plane.errors import InvalidMessage
from control_plane.messages import DeadLetter, topics
from control_plane.messages.event import SHOWN_AGAIN
from control_plane.messages.wire import decode, decode_event, encode_event
from control_plane.redriving import no_trigger, redriven
from state.rows import Row, decode_row, decode_stored
from tests import builders
from tests.unit.test_partition import World

FAILS = "raise ValueError('not today')"
PROPOSES = "return [context.propose('restart_service', because='mended')]"
HOT = builders.event(data={"rss": 500.0}, message_id="hot")


def workspace(decide: str, **more: Any) -> ControlSet:
    """A rule that decides well, an agent that decides like this, and a count of what was folded."""
    seen = builders.row("seen", fields={"times": {"count": {"window": "1h"}}})
    intent = builders.intent(action_class="any", limits={})
    keen = builders.agent("keen", decide, **more)
    return builders.control_set(intent, builders.row(), seen, builders.rule(), keen)


BROKEN, MENDED = workspace(FAILS), workspace(PROPOSES)


class Shown(World):
    """A partition on which `keen` fails until it is mended."""

    def __init__(self, mended: ControlSet = MENDED) -> None:
        super().__init__(BROKEN)
        self.mended = mended
        self.source = builders.ControlsAt(BROKEN, mended)
        self.partitions._controls = self.source

    def letter(self, at: int = 0) -> DeadLetter:
        return decode(list(self.log.read(topics.DEAD_LETTERS, 0))[at].value, DeadLetter)

    def mend(self) -> None:
        self.send(builders.adopted(self.mended.revision))

    def redrive(self, letter: DeadLetter) -> bytes:
        back = redriven(letter, self.clock.now_ms(), self.source.at(self.mended.revision), no_trigger)
        assert back.key == letter.subject.encode()
        self.send(back.value)
        return back.value

    def row(self) -> Row:
        return decode_row(decode_stored(self.log.rows[0][b"service/web-1"]).row)

    def proposals(self) -> list[str]:
        return [said["data"]["agent"] for said in self.said(topics.DECISIONS)]


@pytest.fixture
async def world() -> Shown:
    world = Shown()
    await world.begin()
    world.send(HOT)
    await world.settle()
    world.mend()
    return world


async def test_only_the_agent_that_failed_decides_and_the_event_is_not_folded_again(world: Shown) -> None:
    await world.settle()
    before, parts = world.proposals(), world.row().parts

    world.redrive(world.letter())
    await world.settle()

    assert (before, world.proposals()) == (["memory_guard"], ["memory_guard", "keen"])
    assert len(world.letters()) == 1
    assert world.row().parts == parts


async def test_what_follows_has_the_ids_that_it_would_have_had_at_first(world: Shown) -> None:
    well = Shown(MENDED)
    well.controls = MENDED
    await well.begin(adopt=False)
    well.mend()
    well.send(HOT)
    await well.settle()

    world.redrive(world.letter())
    await world.settle()

    ids, ids_well = ({said["id"] for said in found.said(topics.DECISIONS)} for found in (world, well))
    assert ids == ids_well
    assert len(ids) == 2


async def test_however_often_it_is_shown_the_agent_decides_once(world: Shown) -> None:
    letter = world.letter()
    for _ in range(3):
        world.redrive(letter)
    await world.settle()

    assert world.proposals() == ["memory_guard", "keen"]


async def test_an_agent_that_fails_again_has_a_letter_that_follows_from_the_first() -> None:
    world = Shown(workspace(FAILS, version="2.0.0"))
    await world.begin()
    world.send(HOT)
    await world.settle()
    world.mend()
    first = world.letter()

    world.redrive(first)
    await world.settle()
    second = world.letter(1)
    world.redrive(second)
    await world.settle()
    third = world.letter(2)

    assert [found.agent for found in (first, second, third)] == ["keen"] * 3
    assert second.lineage.causation_id == first.lineage.message_id
    assert third.lineage.causation_id == second.lineage.message_id
    shown = decode_event(third.record, 0)
    assert (shown.type, shown.data["event"]["type"]) == (SHOWN_AGAIN, "service.measured")


async def test_a_slow_agent_is_sent_the_context(world: Shown) -> None:
    world.mended = workspace("return []", base="SlowAgent")
    world.source = builders.ControlsAt(BROKEN, MENDED, world.mended)
    world.partitions._controls = world.source
    world.mend()

    world.redrive(world.letter())
    await world.settle()

    assert [said["data"]["agent"] for said in world.said(topics.CONTEXTS)] == ["keen"]


async def test_for_an_agent_that_is_gone_by_then_it_is_kept_once_more(world: Shown) -> None:
    without = builders.control_set()
    world.partitions._controls = builders.ControlsAt(BROKEN, MENDED, without)
    world.send(builders.adopted(without.revision))

    world.redrive(world.letter())
    await world.settle()

    assert world.proposals() == ["memory_guard"]
    assert [found for found, _ in world.letters()] == ["agent_failed", "agent_unknown"]
    assert world.letter(1).lineage.causation_id == world.letter().lineage.message_id


@pytest.mark.parametrize(
    ("shown", "code"),
    [
        pytest.param({}, "schema_broken", id="no event"),
        pytest.param(msgspec.to_builtins(builders.event(subject="service/web-2")), "showing_foreign", id="of another"),
    ],
)
async def test_what_was_never_buried_is_not_shown(shown: Any, code: str) -> None:
    world = await World().begin()
    data = {"agent": "memory_guard", "event": shown}

    world.send(builders.event(SHOWN_AGAIN, data, source="setpoint", message_id="s1"))
    await world.settle()

    assert [found for found, _ in world.letters()] == [code]
    assert world.said(topics.DECISIONS) == []


async def test_the_moment_of_a_tick_does_not_come_back(world: Shown) -> None:
    letter = msgspec.structs.replace(world.letter(), record=encode_event(builders.tick()))

    with pytest.raises(InvalidMessage) as caught:
        redriven(letter, 0, world.source.at(MENDED.revision), no_trigger)

    assert caught.value.code == "moment_over"
