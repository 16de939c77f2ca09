"""How far this process's groups are behind the log, and whether their commits still advance.

Commits can stop for ever after a recovery race in Faust (#596), and so can deliveries; both look like a quiet system.
Nothing heals that from inside, so the process leaves and is started again.
"""

import logging
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from control_plane.errors import BackboneUnavailable

LOOK_EVERY_S = 5.0
ANSWER_WITHIN_S = 5.0
COMMITS_STALLED_MAX_S = 120.0
"""How long a committed offset may stand still before the end of its partition, while the log answers. Well above what a
rebalance or a broker's restart takes, and above a slow agent's minute."""

_log = logging.getLogger(__name__)


class Place(NamedTuple):
    """One partition of one group, by the names above the port."""

    group: str
    topic: str
    partition: int


class LaneState(Protocol):
    """What a lane says of itself. `noted` is what it has asked to be committed."""

    committed: int
    noted: int
    taking: bool


class _Standstill:
    """Since when a committed offset has stood where it stands."""

    def __init__(self, lane: LaneState, since_s: float) -> None:
        self.lane = lane
        self.offset = lane.committed
        self.since_s = since_s
        self.said = False


class LagWatch:
    """Compares what it sees at each look with what it saw before."""

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        failed: Callable[[BaseException], None],
        stalled_max_s: float | None = None,
    ) -> None:
        self._clock = clock
        self._failed = failed
        self._stalled_max_s = COMMITS_STALLED_MAX_S if stalled_max_s is None else stalled_max_s
        self._standing: dict[Place, _Standstill] = {}

    def look(self, lanes: Mapping[Place, tuple[LaneState, int | None]]) -> None:
        """Each lane, with the end of its partition; None when the log did not answer."""
        now_s = self._clock()
        before, self._standing = self._standing, {}
        for place, (lane, end) in lanes.items():
            standing = before.get(place)
            stands = (
                standing is not None
                and standing.lane is lane
                and standing.offset == lane.committed
                and end is not None
                and lane.committed < end
            )
            if standing is None or not stands:
                standing = _Standstill(lane, now_s)
            self._standing[place] = standing
            if stands and end is not None and now_s - standing.since_s > self._stalled_max_s:
                self._judge(place, standing, end)

    def _judge(self, place: Place, standing: _Standstill, end: int) -> None:
        lane = standing.lane
        if lane.noted > lane.committed or not lane.taking:
            self._failed(self._stalled(place, lane, end))
        elif not standing.said:
            standing.said = True
            _log.warning("a reader has had its batch for long", extra={**place._asdict(), "lag": end - lane.committed})

    def _stalled(self, place: Place, lane: LaneState, end: int) -> BackboneUnavailable:
        return BackboneUnavailable(
            f"the committed offset of {place.topic}/{place.partition} of group {place.group} has stood at "
            f"{lane.committed} for {self._stalled_max_s:g} s, and the log goes on to {end}. This process gave its "
            "partitions up; what was not committed comes again. Start it again; if it comes back, look at the "
            "brokers."
        )
