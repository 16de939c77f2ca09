"""The wait until a process can do its work. What it rests on may fail meanwhile, and then nobody waits on."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

from control_plane.errors import BackboneUnavailable
from control_plane.ports.clock import Clock

READY_TIMEOUT_S: Final = 60.0
READY_POLL_S: Final = 0.01


async def until_ready(
    why_not: Callable[[], Sequence[str]], work: Callable[[], Collection["asyncio.Task[Any]"]], clock: Clock
) -> None:
    """Returns once nothing speaks against it. Raises what ended any of the work, and BackboneUnavailable."""
    try:
        async with asyncio.timeout(READY_TIMEOUT_S):
            while why_not():
                for task in work():
                    if task.done():
                        task.result()
                await clock.sleep(READY_POLL_S)
    except TimeoutError as exc:
        raise BackboneUnavailable(
            f"this process could not begin its work within {READY_TIMEOUT_S:g} s: {'; '.join(why_not())}. Nothing is "
            "done here. Look for other workers of the same group that take partitions and do not answer, then start "
            "again."
        ) from exc


class Following:
    """Whether partitions follow the controls that are wanted: all of them at the start, and some for ever after."""

    def __init__(self) -> None:
        self._did_once = False

    def why_not(self, owned: Mapping[int, str], wanted: str) -> Sequence[str]:
        """What speaks against it, of partitions with the revisions that they have adopted."""
        if self._did_once:
            # Partitions that have yet to adopt newer controls do their work under the last ones.
            return tuple(f"partition {number} follows no controls" for number, had in sorted(owned.items()) if not had)
        waiting = [number for number, revision in sorted(owned.items()) if revision != wanted]
        self._did_once = not waiting
        return tuple(f"partition {number} has not adopted the controls {wanted}" for number in waiting)
