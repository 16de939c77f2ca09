"""What joins the roles of a process, real or simulated: readers that wait for all of them, an observer that tells
several, what dispatch says to the log.
"""

import asyncio
from collections.abc import Callable, Sequence

from control_plane.errors import InvalidMessage
from control_plane.loop.step import Done
from control_plane.messages import DeadLetter, Event, Outcome, topics
from control_plane.messages.wire import encode
from control_plane.partition import Observer
from control_plane.partition.following import letter_of
from control_plane.ports.backbone import Backbone, GroupReader, Output, Record


class Waiting:
    """A group reader that takes nothing before the whole service has started."""

    def __init__(
        self, started: asyncio.Event, inner: Callable[[], GroupReader | None], batches_in_hand_max: int = 1
    ) -> None:
        self.batches_in_hand_max = batches_in_hand_max
        self._started = started
        self._inner = inner

    async def take(self, topic: str, partition: int, records: Sequence[Record]) -> None:
        """Wait, then let the reader take the batch."""
        await self._started.wait()
        reader = self._inner()
        assert reader is not None, "a role is joined only with its reader"
        await reader.take(topic, partition, records)


class Observers:
    """Tells several observers."""

    def __init__(self, observers: list[Observer]) -> None:
        self._observers = observers

    def append(self, observer: Observer) -> None:
        """Tell this one, too, from now on."""
        self._observers.append(observer)

    def stepped(self, event: Event, done: Done) -> None:
        """An event was folded."""
        for observer in self._observers:
            observer.stepped(event, done)

    def dead_lettered(self, letter: DeadLetter) -> None:
        """A record could not be processed."""
        for observer in self._observers:
            observer.dead_lettered(letter)


class Replies:
    """What dispatch says to the log."""

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone

    async def publish(self, outcomes: Sequence[Outcome]) -> None:
        """Outcomes come back as events of their subjects."""
        await self._backbone.append(
            [Output(topics.EVENTS, outcome.subject.encode(), encode(outcome)) for outcome in outcomes]
        )

    async def bury(self, record: Record, reason: InvalidMessage) -> None:
        """A record of `commands.v1` that is no command."""
        letter = encode(letter_of(record, reason, ""))
        await self._backbone.append([Output(topics.DEAD_LETTERS, record.key, letter, record.partition)])
