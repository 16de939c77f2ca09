"""Who has which partitions of which group: members that are heard from share them; one that is not is thrown out.

A partition goes to its next owner once the former one has let go of it, or was not heard of for too long.
"""

from collections.abc import Sequence

from control_plane.errors import BackboneUnavailable
from control_plane.simulation.event_loop import Process
from control_plane.simulation.log import Place
from control_plane.simulation.trace import Trace

Granted = dict[str, tuple[Place, ...]]
"""What a member may work on now, by group."""


class Coordinator:
    """Of all groups. Times are microseconds since the run began."""

    def __init__(self, trace: Trace, session_s: float) -> None:
        self._trace = trace
        self._session_us = int(session_s * 1e6)
        self._places: dict[str, list[Place]] = {}
        self._members: dict[str, dict[Process, int]] = {}
        self._holders: dict[tuple[str, Place], Process] = {}

    def join(self, group: str, places: Sequence[Place], member: Process, now_us: int) -> None:
        """Be one of those who share these places."""
        self._places[group] = list(places)
        self._members.setdefault(group, {})[member] = now_us

    def beat(self, member: Process, now_us: int) -> Granted | None:
        """A member is there: what it may work on; None when it was thrown out and has to join again."""
        granted: Granted = {}
        for group, members in self._members.items():
            self._throw_out(group, now_us)
            if member in members:
                members[member] = now_us
                granted[group] = self._granted(group, member)
        return granted or None

    def release(self, group: str, place: Place, member: Process) -> None:
        """A member has let go of a place."""
        if self._holders.get((group, place)) is member:
            del self._holders[group, place]

    def check_holder(self, group: str, place: Place, member: Process) -> None:
        """Raises BackboneUnavailable when a member no longer has a place: it must not say how far it has come."""
        if self._holders.get((group, place)) is not member:
            raise BackboneUnavailable(f"{place} of {group} is somebody else's by now. No offset was committed.")

    def leave(self, member: Process) -> None:
        """A member has gone, and says so."""
        for members in self._members.values():
            members.pop(member, None)
        self._holders = {where: who for where, who in self._holders.items() if who is not member}

    def _throw_out(self, group: str, now_us: int) -> None:
        members = self._members[group]
        for gone in [who for who, heard_us in members.items() if now_us - heard_us > self._session_us]:
            del members[gone]
            self._trace.note("group", f"{group} throws {gone!r} out")
            if gone.alive:
                self._trace.fault("thrown out alive", repr(gone), group)
            self._holders = {
                where: who for where, who in self._holders.items() if not (where[0] == group and who is gone)
            }

    def _granted(self, group: str, member: Process) -> tuple[Place, ...]:
        """What is this member's, of that what nobody else still holds."""
        members = list(self._members[group])
        mine = []
        for number, place in enumerate(self._places[group]):
            if members[number % len(members)] is not member:
                continue
            holder = self._holders.setdefault((group, place), member)
            if holder is member:
                mine.append(place)
        return tuple(mine)
