"""What a simulation needs of the rooms above it; `control_plane.bootstrap` fills it in."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from msgspec import Struct

from control_plane.catalogue import ControlSet
from control_plane.errors import InvalidMessage
from control_plane.messages import Command, Outcome
from control_plane.ports.backbone import Record
from control_plane.ports.clock import Clock
from control_plane.ports.controls_source import ControlsSource
from control_plane.ports.executor import Executor
from control_plane.ports.ledger import Ledger
from control_plane.ports.policy_engine import PolicyEngine


class DispatchRole(Protocol):
    """The executors role."""

    failed: "asyncio.Future[None] | None"

    async def start(self) -> None: ...

    async def take(self, topic: str, partition: int, records: Sequence[Record]) -> None: ...

    async def stop(self) -> None: ...


class MakeDispatch(Protocol):
    """Puts the real executors role together."""

    def __call__(
        self,
        *,
        ledger: Ledger,
        executors: Mapping[str, Executor],
        clock: Clock,
        publish: Callable[[Sequence[Outcome]], Awaitable[None]],
        dead_letter: Callable[[Record, InvalidMessage], Awaitable[None]],
        halted: Callable[[Command], str | None],
        bounds: Mapping[str, Any],
    ) -> DispatchRole: ...


class Subject(Struct, frozen=True, kw_only=True):
    """A workspace under test. `sets` are its controls, the first and one that is put in force on the way; `controls`
    has both of them compiled. `executors` are the names that intents call."""

    name: str
    sets: tuple[ControlSet, ...]
    controls: ControlsSource
    executors: tuple[str, ...]


class Parts(Struct, frozen=True, kw_only=True):
    """The real parts. `engine` makes a policy engine of its own for each process that asks."""

    engine: Callable[[], PolicyEngine]
    dispatch: MakeDispatch
