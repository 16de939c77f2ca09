"""What a partition's owner appends to it by itself: ticks while timers wait, and the adoption of controls.

Everything that the loop follows stands on the log; this is where time and new controls get there.
"""

from collections.abc import Callable

from control_plane.causality import Lineage
from control_plane.causality.lineage import SOURCE
from control_plane.messages import Event, topics
from control_plane.messages.event import CONTROLS_ADOPTED, TICK
from control_plane.messages.wire import encode_event, utc
from control_plane.partition import Partitions
from control_plane.ports.backbone import Backbone, Output
from control_plane.ports.clock import Clock

TICK_INTERVAL_S = 0.05
"""How often timers are looked at, and so how late a tick may be."""

TICK_REPEAT_MS = 1_000
"""After how long a tick is appended again when the row that it was for still waits."""


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

    async def run(self) -> None:
        """Go on until cancelled. Raises what `Backbone.append` raises: an owner that cannot append must stop."""
        while True:
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

    def _wants_tick(self, partition: int, now_ms: int) -> bool:
        due_ms = self._partitions.due_ms(partition)
        if due_ms is None or due_ms > now_ms:
            return False
        last_due_ms, last_ms = self._ticked.get(partition, (0, 0))
        if due_ms == last_due_ms and now_ms - last_ms < TICK_REPEAT_MS:
            return False
        self._ticked[partition] = (due_ms, now_ms)
        return True


def _partition_event(partition: int, event_type: str, now_ms: int, data: dict[str, str]) -> Output:
    subject = f"partition/{partition}"
    event = Event(
        lineage=Lineage.root(SOURCE, f"{event_type}/{partition}/{now_ms}"),
        type=event_type,
        subject=subject,
        occurred_at=utc(now_ms),
        data=data,
    )
    return Output(topics.EVENTS, subject.encode(), encode_event(event), partition)
