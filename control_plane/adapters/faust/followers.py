"""The consumer groups of this process, looked at from time to time: how far is each, and does it still move?

Asks the log for its ends, and leaves the judging to `lag`.
"""

import asyncio
from collections.abc import Iterator, Mapping

from aiokafka.errors import KafkaError
from faust.types import TP

from control_plane.adapters.faust import lag
from control_plane.adapters.faust.lag import LagWatch, LaneState, Place
from control_plane.adapters.faust.parts import Failed
from control_plane.adapters.faust.pinned import GroupApp
from control_plane.adapters.faust.topics import Names


class Followers:
    """Runs from the start of a backbone to its stop."""

    def __init__(self, apps: Mapping[str, GroupApp], names: Names, failed: Failed) -> None:
        """`apps` by the plain name of their group."""
        self._apps = apps
        self._names = names
        self._ends: dict[str, Mapping[TP, int]] = {}
        self._watch = LagWatch(clock=asyncio.get_running_loop().time, failed=failed)
        self._task = asyncio.create_task(self._look_for_ever(), name="followers")

    def lag(self) -> Mapping[tuple[str, str, int], int]:
        """Of every partition that was looked at and is still here."""
        return {
            (place.group, place.topic, place.partition): max(0, end - lane.committed)
            for place, (lane, end) in self._lanes(self._ends)
            if end is not None
        }

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _look_for_ever(self) -> None:
        while True:
            answers = await asyncio.gather(*(self._ends_of(app) for app in self._apps.values()))
            now = {group: ends for group, ends in zip(self._apps, answers, strict=True) if ends is not None}
            self._ends |= now
            self._watch.look(dict(self._lanes(now)))
            await asyncio.sleep(lag.LOOK_EVERY_S)

    async def _ends_of(self, app: GroupApp) -> Mapping[TP, int] | None:
        """The ends of a group's partitions; None when the log does not answer."""
        try:
            async with asyncio.timeout(lag.ANSWER_WITHIN_S):
                ends: Mapping[TP, int] = await app.consumer.ends(set(app.part.lanes))
                return ends
        except (KafkaError, TimeoutError, OSError):
            return None

    def _lanes(self, ends: Mapping[str, Mapping[TP, int]]) -> Iterator[tuple[Place, tuple[LaneState, int | None]]]:
        for group, app in self._apps.items():
            for tp, lane in app.part.lanes.items():
                place = Place(group, self._names.above(tp.topic), tp.partition)
                yield place, (lane, ends.get(group, {}).get(tp))
