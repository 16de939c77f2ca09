"""Trying again until the world is ready: a trigger that reads on must neither lose nor skip what it has read."""

import logging
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from control_plane.errors import TemporaryError
from control_plane.ports.clock import Clock

T = TypeVar("T")

RETRY_PAUSE_S: Final = 1.0

_log = logging.getLogger(__name__)


async def until_done(call: Callable[[], Awaitable[T]], *, trigger: str, clock: Clock) -> T:
    """What the call gives, once it gives something. Raises what no waiting can mend, such as StorageFull."""
    tries = 0
    while True:
        try:
            return await call()
        except TemporaryError as not_yet:
            tries += 1
            if tries == 1:
                _log.warning("a trigger waits", extra={"trigger": trigger, "reason": str(not_yet)})
        await clock.sleep(RETRY_PAUSE_S)
