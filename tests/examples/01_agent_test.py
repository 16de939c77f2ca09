"""An agent of your own, and its test: the whole loop in memory, under a clock that you move."""

from collections.abc import Sequence

from control_plane.sdk import Agent, Context, Decision
from control_plane.sdk.testing import Loop, deny

ROW = """
row: door
on: [door.opened, door.closed]
fields:
  opened: {count: {of: door.opened, window: 1m}}
"""


class DoorGuard(Agent):
    name = "door_guard"
    version = "1.0.0"
    listens_to = ("door.opened",)
    reads = ("door",)
    intents = ("lock_door",)

    def decide(self, context: Context) -> Sequence[Decision]:
        opened = context.rows["door"]["opened"]
        return [context.propose("lock_door", because=f"opened {opened} times in a minute")] if opened > 3 else []


def test_a_door_that_opens_too_often_is_locked() -> None:
    loop = Loop(DoorGuard(), declarations=ROW, subject_kind="door")

    for _ in range(4):
        loop.send("door.opened", "door/north")

    assert [command.intent for command in loop.commands] == ["lock_door"]
    assert loop.decisions[0].because == "opened 4 times in a minute"


def test_a_door_that_opens_now_and_then_is_left_alone() -> None:
    loop = Loop(DoorGuard(), declarations=ROW, subject_kind="door")

    for _ in range(10):
        loop.send("door.opened", "door/north")
        loop.wait("30s")

    assert loop.decisions == []


def test_nothing_is_locked_without_a_policy_that_allows_it() -> None:
    loop = Loop(DoorGuard(), declarations=ROW, subject_kind="door", policy=deny)

    for _ in range(4):
        loop.send("door.opened", "door/north")

    assert loop.decisions
    assert loop.commands == []
