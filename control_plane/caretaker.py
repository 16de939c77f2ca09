"""What a partition's owner appends by itself: ticks while timers wait, the adoption of controls, and to every partition
a summary of those that it owns.

Everything that the loop follows stands on the log; this is where time, new controls and other partitions get there.
"""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from control_plane.messages import topics
from control_plane.messages.event import CONTROLS_ADOPTED, PARTITION_SUMMARISED, TICK
from control_plane.messages.owner_event import own_subject, owner_event
from control_plane.messages.summary import FLEET_SUMMARY_INTERVAL_MS, FLEET_SUMMARY_REPEAT_MS, PartitionsSummary
from control_plane.partition import Partitions
from control_plane.partition.held import ToTell
from control_plane.partition.told import merged_heard
from control_plane.ports.backbone import Backbone, Output
from control_plane.ports.clock import Clock

TICK_INTERVAL_S = 0.05
"""How often timers are looked at, and so how late a tick may be."""

TICK_REPEAT_MS = 1_000
"""After how long a tick is appended again when the row that it was for still waits."""


HELD_UP_MS = 500
"""A caretaker that comes back later than that was held up, with all else in its process: the machine slept, or had too
much to do."""

PATIENCE_MS = 500
"""For how long it then appends no tick: whoever brings events in has the first word, or time would run out for what
they are about to say."""


class Caretaker:
    """Keeps time and controls in the partitions that this process owns."""

    def __init__(self, backbone: Backbone, partitions: Partitions, clock: Clock, wanted: Callable[[], str]) -> None:
        """`wanted` gives the revision of the controls that every partition should follow."""
        self._backbone = backbone
        self._partitions = partitions
        self._clock = clock
        self._wanted = wanted
        self._ticked: dict[int, tuple[int, int]] = {}
        self._adopting: dict[int, str] = {}
        self._told: _Told | None = None
        self._looked_ms = 0
        self._patient_until_ms = 0

    async def run(self) -> None:
        """Go on until cancelled. Raises what `Backbone.append` raises: an owner that cannot append must stop."""
        while True:
            self._be_patient(self._clock.now_ms())
            await self.look()
            await self._clock.sleep(TICK_INTERVAL_S)

    async def look(self) -> None:
        """Append what is due now."""
        now_ms = self._clock.now_ms()
        outputs = []
        for partition, revision in self._partitions.owned().items():
            if self._wants_adoption(partition, revision):
                outputs.append(self._adoption(partition, now_ms))
            if self._wants_tick(partition, now_ms):
                outputs.append(_partition_event(partition, TICK, now_ms, {}))
        outputs += self._summaries(now_ms)
        if outputs:
            await self._backbone.append(outputs)

    def _wants_adoption(self, partition: int, revision: str) -> bool:
        wanted = self._wanted()
        if revision == wanted:
            self._adopting.pop(partition, None)
            return False
        return self._adopting.get(partition) != wanted

    def _adoption(self, partition: int, now_ms: int) -> Output:
        self._adopting[partition] = self._wanted()
        return _partition_event(partition, CONTROLS_ADOPTED, now_ms, {"revision": self._wanted()})

    def _be_patient(self, now_ms: int) -> None:
        """Notice having been held up; but however often that is, ticks come half of the time."""
        if now_ms - self._looked_ms > HELD_UP_MS and now_ms >= self._patient_until_ms + PATIENCE_MS:
            self._patient_until_ms = now_ms + PATIENCE_MS
        self._looked_ms = now_ms

    def _wants_tick(self, partition: int, now_ms: int) -> bool:
        due_ms = self._partitions.due_ms(partition)
        if due_ms is None or due_ms > now_ms or now_ms < self._patient_until_ms:
            return False
        last_due_ms, last_ms = self._ticked.get(partition, (0, 0))
        if due_ms == last_due_ms and now_ms - last_ms < TICK_REPEAT_MS:
            return False
        self._ticked[partition] = (due_ms, now_ms)
        return True

    def _summaries(self, now_ms: int) -> Sequence[Output]:
        """What every partition is told of those that are ours, if it is time."""
        found = {number: self._partitions.to_tell(number) for number in sorted(self._partitions.owned())}
        tellable = {number: told for number, told in found.items() if told is not None}
        if not tellable or not _is_due(self._told, tellable, now_ms):
            return ()
        self._told = _Told(now_ms, tellable)
        heard: dict[str, int] = {}
        for told in tellable.values():
            heard = merged_heard(heard, told.heard)
        summary = PartitionsSummary(
            partitions=self._backbone.partitions,
            counts={str(number): told.counts for number, told in tellable.items()},
            epochs={str(number): told.epoch for number, told in tellable.items()},
            heard=heard,
        )
        data = msgspec.to_builtins(summary)
        by = f"/{min(tellable)}"
        return [
            _partition_event(number, PARTITION_SUMMARISED, now_ms, data, by)
            for number in range(self._backbone.partitions)
        ]


class _Told(Struct, frozen=True):
    """What was told last, and when."""

    at_ms: int
    found: dict[int, ToTell]


def _is_due(last: _Told | None, found: dict[int, ToTell], now_ms: int) -> bool:
    """At most once per interval, and within it only what others wait for; now and then in any case."""
    if last is None:
        return True
    since_ms = now_ms - last.at_ms
    if since_ms < FLEET_SUMMARY_INTERVAL_MS:
        return False
    return since_ms >= FLEET_SUMMARY_REPEAT_MS or _awaited(found) != _awaited(last.found)


def _awaited(found: dict[int, ToTell]) -> object:
    return [(number, told.counts, told.heard if told.heeds_sources else None) for number, told in found.items()]


def _partition_event(partition: int, event_type: str, now_ms: int, data: dict[str, Any], by: str = "") -> Output:
    value = owner_event(partition, event_type, now_ms, data, by)
    return Output(topics.EVENTS, own_subject(partition).encode(), value, partition)
