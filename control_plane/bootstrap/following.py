"""What other processes append to the control topics, heard by a reader of this process's own.

Only where others can append: an embedded log has one process, which notes what it publishes itself. Blocking calls run
in a thread, but for `catch_up`, which is for the rare moment when a partition cannot go on without them.
"""

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from typing import Final

from control_plane.errors import BackboneUnavailable
from control_plane.messages import topics
from control_plane.ports.backbone import Record
from control_plane.ports.clock import Clock
from control_plane.ports.log_reader import LogReader
from control_plane.workspace.control_log import PARTITION, ControlLog

FOLLOW_INTERVAL_S: Final = 0.5
"""How often the control topics are looked at, and so how late a process hears of an apply in another one."""

_ITEMS_LAST: Final = (topics.CONTROL_SETS, *(topic for topic in topics.CONTROLS if topic != topics.CONTROL_SETS))
"""Items are appended before the set that names them: who reads sets first has all items of every set that was read."""

_log = logging.getLogger(__name__)


class ControlFollower:
    """Reads on where it stopped."""

    def __init__(self, reader: LogReader, log: ControlLog) -> None:
        self._reader = reader
        self._log = log
        self._next = dict.fromkeys(topics.CONTROLS, 0)
        self._one_at_a_time = threading.Lock()
        log.catch_up = self.catch_up

    def catch_up(self) -> None:
        """Hear of everything there is, at once. Raises BackboneUnavailable, DataDamaged."""
        for record in self._news():
            self._log.note(record.topic, record.key, record.value, record.offset)

    async def run(self, clock: Clock, heed: Callable[[], Awaitable[None]]) -> None:
        """Go on until cancelled. Raises DataDamaged."""
        while True:
            await clock.sleep(FOLLOW_INTERVAL_S)
            try:
                news = await asyncio.to_thread(self._news)
            except BackboneUnavailable as exc:
                _log.warning("the control topics cannot be read; trying again", extra={"reason": str(exc)})
                continue
            for record in news:
                self._log.note(record.topic, record.key, record.value, record.offset)
            await heed()

    def close(self) -> None:
        """Let go of the log."""
        self._reader.close()

    def _news(self) -> list[Record]:
        with self._one_at_a_time:
            _, end = self._reader.bounds(topics.CONTROL_SETS, PARTITION)
            if end <= self._next[topics.CONTROL_SETS]:
                return []
            found: list[Record] = []
            for topic in _ITEMS_LAST:
                found += self._reader.read(topic, PARTITION, self._next[topic])
            for record in found:
                self._next[record.topic] = max(self._next[record.topic], record.offset + 1)
            return found
