"""A watched folder: its trigger, lines for its files, and what came of them."""

from pathlib import Path
from typing import Any

from control_plane.adapters.memory import MemoryPositions
from control_plane.errors import StorageFull
from control_plane.messages import Event
from control_plane.triggers import build_trigger
from control_plane.triggers.folder import FolderTrigger
from tests.unit.triggers_world import World, as_json

EVENT = {"type": "order.placed", "subject": '"order/" + string(item.n)'}


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
