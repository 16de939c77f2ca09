"""What the partitions follow that other processes own, as their owners committed it.

Two things hang on it: nothing may come in before every partition has adopted controls, or it would be a dead letter;
and a process without the loop tells by it when a change of controls is in force.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

import msgspec

from control_plane.errors import BackboneUnavailable, InvalidSettings
from control_plane.partition.held import Mark
from control_plane.ports.backbone import Output, Position
from control_plane.ports.clock import Clock

LOOK_INTERVAL_S: Final = 0.05
RETRY_PAUSE_S: Final = 1.0

ReadMarks = Callable[[], Awaitable[Mapping[int, bytes]]]
Append = Callable[[Sequence[Output]], Awaitable[Sequence[Position]]]

_log = logging.getLogger(__name__)


class Elsewhere:
    """All partitions of the loop, whoever owns them."""

    def __init__(self, read_marks: ReadMarks, append: Append, partitions: int) -> None:
        self._read_marks = read_marks
        self._append = append
        self._revisions = dict.fromkeys(range(partitions), "")

    def revisions(self) -> Mapping[int, str]:
        """The revision that each partition follows, as it was when it was last looked at; empty for none."""
        return self._revisions

    def why_not(self) -> Sequence[str]:
        """Why nothing may come in yet."""
        waiting = [str(number) for number, revision in self._revisions.items() if not revision]
        if not waiting:
            return ()
        return (f"no loop has adopted controls in partition {', '.join(waiting)}; start a worker with the role loop",)

    async def append(self, outputs: Sequence[Output]) -> Sequence[Position]:
        """As the backbone's, once every partition follows controls. Raises BackboneUnavailable before."""
        reasons = self.why_not()
        if reasons:
            raise BackboneUnavailable(f"{reasons[0]}. Nothing was appended. The same call works once one has begun.")
        return await self._append(outputs)

    async def run(self, wanted: Callable[[], str], clock: Clock) -> None:
        """Look while not every partition follows what is wanted, until cancelled."""
        while True:
            if any(revision != wanted() for revision in self._revisions.values()):
                await self._look(clock)
            await clock.sleep(LOOK_INTERVAL_S)

    async def _look(self, clock: Clock) -> None:
        try:
            marks = await self._read_marks()
        except (BackboneUnavailable, InvalidSettings) as exc:
            _log.debug("what partitions follow cannot be seen", extra={"reason": str(exc)})
            await clock.sleep(RETRY_PAUSE_S)
            return
        # A partition that is being moved still follows what it followed.
        self._revisions = {n: _revision(marks.get(n, b"")) or before for n, before in self._revisions.items()}


def _revision(mark: bytes) -> str:
    return msgspec.json.decode(mark, type=Mark).controls_revision if mark else ""
