"""The way from a fetched batch to its lane, instead of Faust's: every override of a Consumer, with its reason.

Faust's own way makes two tasks per message, loses events when a partition moves, and commits on a timer what it
believes to be done (measured; docs/adr). Membership, assignment, tables and recovery stay Faust's. Both transports'
Consumers mix this in; `tests/contract/backbone/test_faust_is_as_expected.py` fails when an upgrade of Faust removes or
renames what is overridden or relied on here.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

from aiokafka.errors import IllegalStateError
from faust.types import TP

from control_plane.adapters.faust.lane import Lane, Standing
from control_plane.adapters.faust.row_store import RowsStore
from control_plane.ports.backbone import Record


class Part(Protocol):
    """What is done with the partitions of one group."""

    @property
    def lanes(self) -> Mapping[TP, Lane]: ...

    def above(self, name: str) -> str:
        """A topic's name above the port."""

    def begin(self, standings: Mapping[TP, Standing]) -> Mapping[TP, int]:
        """Make a lane for each partition and say where each is to be fetched from."""

    async def end(self) -> None:
        """End every lane; nothing of the group is written after this returns."""


class HotPath:
    """Mixed into `faust.transport.consumer.Consumer`, before it."""

    app: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._opened: set[TP] = set()
        self._any_open = asyncio.Event()
        self._standings: dict[TP, Standing] = {}
        self._joined = False
        super().__init__(*args, **kwargs)

    # What each transport has its own way for.

    async def fetch(self, tps: set[TP]) -> Mapping[TP, Sequence[Record]]:
        """Records of these partitions, waiting a while for some; the set is live."""
        raise NotImplementedError

    def wake(self) -> None:
        """Let a waiting `fetch` look at its partitions again."""
        raise NotImplementedError

    async def seek_all(self, offsets: Mapping[TP, int]) -> None:
        """Fetch from these offsets next."""
        raise NotImplementedError

    async def standings(self, tps: set[TP]) -> dict[TP, Standing]:
        """What the group committed, and what the log holds."""
        raise NotImplementedError

    async def ends(self, tps: set[TP]) -> Mapping[TP, int]:
        """The next offset of each partition's log. Raises KafkaError when the log does not answer."""
        raise NotImplementedError

    async def rejoin(self) -> None:
        """Have this group's partitions revoked and assigned again."""
        raise NotImplementedError

    async def restore_rows(self, tps: set[TP], store: RowsStore) -> None:
        """Bring the store up to the changelog's end."""
        raise NotImplementedError

    # What lanes ask for (lane.Gate).

    def open(self, tp: TP) -> None:
        if tp not in self._opened:
            self._opened.add(tp)
            self._any_open.set()
            self.wake()

    def shut(self, tp: TP) -> None:
        self._opened.discard(tp)
        if not self._opened:
            self._any_open.clear()

    def seek_back(self, tp: TP, offset: int) -> None:
        """Shut until the seek is done, so that what is fetched meanwhile is not taken for a second gap."""
        self.shut(tp)
        self.add_future(self._seek_back(tp, offset))  # type: ignore[attr-defined]

    async def _seek_back(self, tp: TP, offset: int) -> None:
        with suppress(IllegalStateError):  # Revoked meanwhile: nobody waits for it.
            await self.seek_all({tp: offset})
        if tp in self.app.part.lanes:
            self.open(tp)

    # Overrides.

    async def _drain_messages(self, fetcher: Any) -> None:
        """Batches to lanes. Faust makes a message, an event and two tasks of each record, and calls back per record."""
        while not (self.should_stop or fetcher.should_stop):  # type: ignore[attr-defined]
            await self._any_open.wait()
            for tp, records in (await self.fetch(self._opened)).items():
                lane = self.app.part.lanes.get(tp)
                if lane is not None and records:
                    lane.feed(records)
            await asyncio.sleep(0)

    async def find_standings(self) -> None:
        """Before `perform_seek`, which Faust gives only so many seconds, and takes to be stopped when it is late."""
        await self.app.part.end()
        tps = {tp for tp in self.assignment() if not self._is_changelog_tp(tp)}  # type: ignore[attr-defined]
        self._standings = await self.standings(tps)
        offsets = self.app.part.begin(self._standings)
        await self.seek_all(offsets)

    async def perform_seek(self) -> None:
        """Begins the lanes that `find_standings` has made. Faust would seek to offsets and leave their marks."""
        standings, self._standings = self._standings, {}
        for tp in standings:
            self.app.part.lanes[tp].begin()

    async def force_commit(self, *args: Any, **kwargs: Any) -> bool:
        """Commits nothing: an offset goes out behind the rows and outputs of its batch, from the lane."""
        return False

    async def wait_empty(self) -> None:
        """Ends the lanes. Faust waits here for messages that its streams acknowledge, and there are none."""
        await self.app.part.end()

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Ends the lanes before Faust touches the tables. A group's whole assignment is revoked at each rebalance."""
        await self.app.part.end()
        self._standings = {}
        await super().on_partitions_revoked(revoked)  # type: ignore[misc]

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Notes that the group has spoken: from then on, to have no partition is an answer."""
        await super().on_partitions_assigned(assigned, generation_id)  # type: ignore[misc]
        self._joined = True

    def stands_by(self) -> bool:
        """Whether the group has more members than partitions, and this one has none, but rows to keep at most."""
        return self._joined and all(map(self._is_changelog_tp, self.assignment()))  # type: ignore[attr-defined]

    async def on_stop(self) -> None:
        """Ends the lanes while the log can still be written."""
        await self.app.part.end()
        await super().on_stop()  # type: ignore[misc]
