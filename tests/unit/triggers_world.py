"""What triggers run on in tests: a log that keeps what is appended, positions in memory, and a clock that is moved."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from control_plane.adapters.memory import MemoryPositions, VirtualClock
from control_plane.catalogue import Controls
from control_plane.errors import SetpointError
from control_plane.loop.intake import admit
from control_plane.messages import DeadLetter, Event, topics
from control_plane.messages.wire import decode, decode_event
from control_plane.ports.backbone import Output, Position
from control_plane.ports.positions import Positions
from control_plane.triggers import Trigger, TriggerTools
from tests.builders import EXPRESSIONS, controls, intent, row, rule

PATIENCE_S = 20.0
SECRET = "a-secret-for-tests-0123456789"
KNOWN = ["alert.fired", "alert.resolved", "order.placed", "order.cancelled", "clock.struck"]


def known_types() -> Controls:
    """A workspace in which the types of these tests are declared."""
    return controls(intent(), rule(), row(on=[*KNOWN, "service.measured"], fields={"n": {"count": {"window": "1h"}}}))


@dataclass(kw_only=True)
class World:
    """All of it. `append_raises` is raised instead of appending, once for each entry."""

    root: Path = Path()
    clock: VirtualClock = field(default_factory=VirtualClock)
    positions: Positions = field(default_factory=MemoryPositions)
    controls: Controls = field(default_factory=known_types)
    environ: Mapping[str, str] = field(default_factory=lambda: {"HOOK_SECRET": SECRET})
    outputs: list[Output] = field(default_factory=list)
    appends: int = 0
    counted: Counter[tuple[str, str]] = field(default_factory=Counter)
    append_raises: list[SetpointError] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def tools(self) -> TriggerTools:
        """What triggers are built with."""
        return TriggerTools(
            root=self.root,
            expressions=EXPRESSIONS,
            append=self.append,
            admit=lambda raw: admit(raw, self.clock.now_ms(), self.controls),
            positions=self.positions,
            clock=self.clock,
            count=self.count,
            environ=self.environ,
        )

    def count(self, trigger: str, became: str, many: int) -> None:
        """What stands in for the metrics."""
        self.counted[trigger, became] += many

    async def append(self, outputs: Sequence[Output]) -> Sequence[Position]:
        """What stands in for the backbone."""
        if self.append_raises:
            raise self.append_raises.pop(0)
        self.outputs += outputs
        self.appends += 1
        self._news.set()
        return [Position(output.topic, 0, n) for n, output in enumerate(outputs)]

    @property
    def events(self) -> list[Event]:
        """The events that were appended, in order."""
        return [decode_event(o.value, self.clock.now_ms()) for o in self.outputs if o.topic == topics.EVENTS]

    @property
    def letters(self) -> list[DeadLetter]:
        """The dead letters that were appended, in order."""
        return [decode(o.value, DeadLetter) for o in self.outputs if o.topic == topics.DEAD_LETTERS]

    @property
    def ids(self) -> list[str]:
        """The ids of the events."""
        return [event.lineage.message_id for event in self.events]

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds that follows from an append."""
        async with asyncio.timeout(PATIENCE_S):
            while not holds():
                self._news.clear()
                await self._news.wait()


@contextlib.asynccontextmanager
async def running(trigger: Trigger) -> AsyncIterator["asyncio.Task[None]"]:
    """A trigger that runs until the end of the block, as a service would run it."""
    task = asyncio.create_task(trigger.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def settle() -> None:
    """Let everything run that can run without time passing."""
    for _ in range(50):
        await asyncio.sleep(0)


def as_json(value: Any) -> bytes:
    """A value as somebody would send it."""
    return msgspec.json.encode(value)
