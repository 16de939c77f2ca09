"""How a partition's rows come back from the changelog: in bulk, straight into the store.

Faust's Recovery keeps deciding when: after each rebalance, for the changelog partitions that its assignor gave this
process. What it reads through streams and buffers (22 s for 200,000 records, and a late flush that overwrites newer
rows) is replaced by one pass from the changelog to the store.
"""

# mypy: disallow-subclassing-any=False

import asyncio
from typing import Any, Protocol

from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery
from faust.types import TP

from control_plane.adapters.faust.library_logs import SERVICES
from control_plane.adapters.faust.row_store import RowsStore


class RecoveringConsumer(Protocol):
    """What recovery needs of both Consumers."""

    async def restore_rows(self, tps: set[TP], store: RowsStore) -> None:
        """Bring the store up to the changelog's end."""

    async def find_standings(self) -> None:
        """Find out where each assigned partition goes on; `perform_seek` then begins them."""


class BulkRecovery(Recovery):
    """Faust's Recovery without its own reading."""

    logger = SERVICES

    def need_recovery(self) -> bool:
        """Never by Faust's way: rows come back in `on_recovery_completed`."""
        return False

    async def _build_highwaters(self, *args: Any, **kwargs: Any) -> None:
        """Reads nothing: Faust waits for this under a time-out, and takes the time-out for a stop of the service."""

    async def _build_offsets(self, *args: Any, **kwargs: Any) -> None:
        """Reads nothing, as `_build_highwaters`."""

    async def _seek_offsets(self, *args: Any, **kwargs: Any) -> None:
        """Seeks nothing: changelog partitions are never fetched through the stream path."""

    async def on_recovery_completed(self, generation_id: int = 0) -> None:
        """Recovers, then lets Faust resume. Cancelled and begun again when another rebalance comes."""
        standbys = {tp.partition for tp in self.standby_tps}
        # Faust would go on with them, through the group's own consumer.
        self.standby_tps.clear()
        await self._restore()
        await super().on_recovery_completed(generation_id)
        for table in self.tables.values():
            self.app.part.keep_warm(standbys, table.data)

    async def _resume_streams(self, generation_id: int = 0) -> None:
        """Faust's way for groups without a table; they too go on from where they were committed."""
        if self.app.consumer.assignment():
            await self.app.consumer.find_standings()
        await super()._resume_streams(generation_id)

    async def _restore(self) -> None:
        """The fence stands before the changelog's end is read: the former owner could still write behind it."""
        consumer: RecoveringConsumer = self.app.consumer
        for table in self.tables.values():
            changelogs = set(self.actives_for_table[table])
            partitions = {tp.partition for tp in changelogs}
            await self.app.part.fence(partitions)
            await consumer.restore_rows(changelogs, table.data)
            await self.app.part.claim({partition: table.data.rows(partition) for partition in partitions})
        if self.app.consumer.assignment():
            await consumer.find_standings()


class RowsTableManager(TableManager):
    """Faust's TableManager with our recovery, and without its second of sleep at the start."""

    logger = SERVICES

    _recovery: BulkRecovery | None = None

    @property
    def recovery(self) -> BulkRecovery:
        """Faust builds its own Recovery by name here."""
        if self._recovery is None:
            self._recovery = BulkRecovery(self.app, self, beacon=self.beacon, loop=self.loop)
        return self._recovery

    async def on_start(self) -> None:
        """Faust sleeps 1 s first, for agents that declare tables late; ours are declared before the start."""
        await asyncio.sleep(0)
        if not self.should_stop:
            await self._update_channels()
            await self.recovery.start()
