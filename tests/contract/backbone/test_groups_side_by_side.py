"""A reader to which order is no matter may have several batches in hand; offsets stay behind the first of them."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from control_plane.messages.topics import CONTEXTS
from control_plane.ports.backbone import Output, Record
from tests.contract.backbone.owners import Changed
from tests.contract.backbone.world import World

IN_HAND_MAX = 4


class SideBySide(Changed):
    """Takes each record as its value says: `held` when it is let go, `broken` never, all others at once."""

    batches_in_hand_max = IN_HAND_MAX

    def __init__(self) -> None:
        super().__init__()
        self.given: list[bytes] = []
        self.taken: list[bytes] = []
        self.at_once_max = self._at_once = 0
        self.let_go = asyncio.Event()

    async def take(self, topic: str, partition: int, records: Sequence[Record]) -> None:
        values = [record.value for record in records]
        self.given += values
        self._at_once += 1
        self.at_once_max = max(self.at_once_max, self._at_once)
        self.changed()
        try:
            if any(value.startswith(b"held") for value in values):
                await self.let_go.wait()
            if b"broken" in values:
                raise ZeroDivisionError("a bug")
            self.taken += values
        finally:
            self._at_once -= 1
            self.changed()


async def one_by_one(backbone: Any, reader: SideBySide, *values: bytes) -> None:
    """Each a batch of its own."""
    for value in values:
        await backbone.append([Output(CONTEXTS, b"k", value, 0)])
        await reader.until(lambda value=value: value in reader.given)  # type: ignore[misc]


async def test_what_waits_holds_up_nothing_behind_it(world: World) -> None:
    reader = SideBySide()
    async with world.running(groups={"agents": ((CONTEXTS,), reader)}) as backbone:
        await one_by_one(backbone, reader, b"held 1", b"a", b"b", b"c")
        await reader.until(lambda: len(reader.taken) == 3)
        reader.let_go.set()
        await one_by_one(backbone, reader, b"d", b"e")
        await reader.until(lambda: len(reader.taken) == 6)

    again = SideBySide()
    async with world.running(groups={"agents": ((CONTEXTS,), again)}) as backbone:
        await one_by_one(backbone, again, b"f")

    assert reader.taken == [b"a", b"b", b"c", b"held 1", b"d", b"e"]
    assert again.given == [b"f"], "all before it was committed"


async def test_what_was_not_done_comes_again_and_all_behind_it(world: World) -> None:
    reader = SideBySide()
    async with world.running(groups={"agents": ((CONTEXTS,), reader)}) as backbone:
        await one_by_one(backbone, reader, b"a")
        await reader.until(lambda: len(reader.taken) == 1)
        await one_by_one(backbone, reader, b"held 1", b"b")
        await reader.until(lambda: len(reader.taken) == 2)

    again = SideBySide()
    again.let_go.set()
    async with world.running(groups={"agents": ((CONTEXTS,), again)}):
        await again.until(lambda: len(again.taken) == 2)

    assert reader.taken == [b"a", b"b"]
    assert again.taken == [b"held 1", b"b"]


async def test_no_more_are_in_hand_than_the_reader_says_counted_from_the_first(world: World) -> None:
    reader = SideBySide()
    async with world.running(groups={"agents": ((CONTEXTS,), reader)}) as backbone:
        await one_by_one(backbone, reader, *[b"held %d" % n for n in range(IN_HAND_MAX)])
        await backbone.append([Output(CONTEXTS, b"k", b"a", 0)])
        reader.let_go.set()
        await reader.until(lambda: len(reader.taken) == IN_HAND_MAX + 1)

    assert reader.at_once_max == IN_HAND_MAX


async def test_a_reader_that_breaks_on_one_of_them_makes_the_process_give_up(world: World) -> None:
    reader = SideBySide()
    backbone = world.backbone()
    backbone.join("agents", (CONTEXTS,), reader)
    await backbone.start()
    await one_by_one(backbone, reader, b"held 1", b"broken")
    with pytest.raises(ZeroDivisionError, match="a bug"):
        await backbone.watch()
    await backbone.stop()
