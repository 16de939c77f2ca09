"""Commands of controls that this process does not follow: it may be behind those who decided, or ahead of them.

A command that names an unknown executor is refused only after its own controls were asked for one.
"""

from typing import Final

from control_plane.bootstrap.control_desk import ControlDesk
from control_plane.bootstrap.ends import ExecutorsEnd
from control_plane.bootstrap.following import ControlFollower
from control_plane.errors import BackboneUnavailable, ContinuityBroken, DataDamaged
from control_plane.messages import Command

REFUSED_REMEMBERED_MAX: Final = 1_000


class Introductions:
    """Executors of other controls than those in force here (`executors.dispatch.Introduce`)."""

    def __init__(self, desk: ControlDesk, end: ExecutorsEnd, follower: ControlFollower | None) -> None:
        self._desk = desk
        self._end = end
        self._follower = follower
        self._in_vain: dict[tuple[str, str], None] = {}

    async def introduce(self, command: Command) -> None:
        """Catch up with controls that are news here; then have the executor as the command's own controls declare it.
        Who was looked for in vain is not looked for again."""
        asked = command.executor, command.controls_revision
        if asked in self._in_vain:
            return
        try:
            if self._follower is not None:
                await self._follower.hear()
                await self._desk.heed()
            await self._end.have(command.executor, self._desk.log.control_set(command.controls_revision))
        except (BackboneUnavailable, ContinuityBroken, DataDamaged):
            # Nobody says what it was. It is refused: that is an outcome, and the loop judges by it.
            self._note(asked)
        else:
            if not self._end.knows(command.executor):
                self._note(asked)

    def _note(self, asked: tuple[str, str]) -> None:
        while len(self._in_vain) >= REFUSED_REMEMBERED_MAX:
            del self._in_vain[next(iter(self._in_vain))]
        self._in_vain[asked] = None
