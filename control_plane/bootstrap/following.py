"""What other processes append to the control topics, heard by a reader of this process's own.

Only where others can append: an embedded log has one process, which notes what it publishes itself. Hearing never waits
for what follows from it: a cancelled command is known at once, also while controls are being changed.
"""

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Final

from control_plane.errors import InvalidSettings, TemporaryError
from control_plane.ports.backbone import Record
from control_plane.ports.clock import Clock
from control_plane.ports.log_reader import LogReader, LogTail
from control_plane.workspace.control_log import PARTITION, READING_ORDER, ControlLog

RETRY_PAUSE_S: Final = 0.5
"""After how long a log that could not be followed is tried again."""

HEED_INTERVAL_S: Final = 0.5

_log = logging.getLogger(__name__)


class ControlFollower:
    """Reads on where the start has stopped."""

    def __init__(self, reader: LogReader, log: ControlLog) -> None:
        self._reader = reader
        self._log = log
        self._next = self.starts
        self._one_at_a_time = threading.Lock()
        self._heard = asyncio.Event()
        log.catch_up = self.catch_up

    @property
    def starts(self) -> dict[str, int]:
        """Where each control topic is to be read on, in the order in which they are read."""
        return {topic: self._log.read_to.get(topic, 0) for topic in READING_ORDER}

    def catch_up(self) -> None:
        """Hear of everything there is, at once: for the rare moment when a partition cannot go on without it. Blocks.
        Raises BackboneUnavailable, DataDamaged."""
        self._note(self._news())

    async def hear(self) -> None:
        """Hear of everything there is by now. Raises BackboneUnavailable, DataDamaged."""
        self._note(await asyncio.to_thread(self._news))

    async def run(self, tail: LogTail, clock: Clock, heed: Callable[[], Awaitable[None]]) -> None:
        """Hear of news as they come, and heed them, until cancelled. Raises DataDamaged."""
        running = [asyncio.create_task(self._follow(tail, clock)), asyncio.create_task(self._heed(heed))]
        try:
            done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            await tail.close()

    async def _follow(self, tail: LogTail, clock: Clock) -> None:
        while True:
            try:
                self._note(await tail.next())
            except (TemporaryError, InvalidSettings) as exc:
                # Also where Kafka lets us in no longer: others may be told to stop by that, hearing goes on trying.
                _log.warning("the control topics cannot be followed; trying again", extra={"reason": str(exc)})
                await clock.sleep(RETRY_PAUSE_S)

    async def _heed(self, heed: Callable[[], Awaitable[None]]) -> None:
        while True:
            # Now and then in any case: what could not be put to work because something was away may be by now.
            with suppress(TimeoutError):
                await asyncio.wait_for(self._heard.wait(), HEED_INTERVAL_S)
            self._heard.clear()
            await heed()

    def _note(self, records: Iterable[Record]) -> None:
        for record in records:
            self._log.note(record.topic, record.key, record.value, record.offset)
            # Only now: who asks for news while others are on their way here must be given those, too.
            self._next[record.topic] = max(self._next[record.topic], record.offset + 1)
            self._heard.set()

    def _news(self) -> list[Record]:
        with self._one_at_a_time:
            found: list[Record] = []
            for topic in READING_ORDER:
                if self._reader.partitions(topic):
                    found += self._reader.read(topic, PARTITION, self._next[topic])
            return found
