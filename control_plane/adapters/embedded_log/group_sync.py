"""Many writers, one fsync: whoever waits while one runs shares the next one. It runs off the event loop's thread."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from control_plane.adapters.embedded_log.high_water import HighWater
from control_plane.adapters.embedded_log.store import Store


class GroupSync:
    """Puts what was written on the device for all that wait."""

    def __init__(self, store: Store, high_water: HighWater) -> None:
        self._store = store
        self._high_water = high_water
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="setpoint-log-fsync")
        self._running: asyncio.Task[None] | None = None
        self.syncs = 0
        """How many fsyncs there were."""

    async def wait(self) -> None:
        """Return once everything written before this call is on the device. Raises StorageFull, BackboneUnavailable."""
        target = self._high_water.acknowledged
        while self._high_water.synced < target:
            if self._running is None or self._running.done():
                self._running = asyncio.create_task(self._sync())
            # Shielded: one waiter that is cancelled must not take the fsync from the others.
            await asyncio.shield(self._running)

    async def _sync(self) -> None:
        covered = self._high_water.acknowledged
        await asyncio.get_running_loop().run_in_executor(self._thread, self._store.sync)
        self.syncs += 1
        self._high_water.write(self._high_water.acknowledged, max(covered, self._high_water.synced))

    def close(self) -> None:
        """Wait for a running fsync and end the thread."""
        self._thread.shutdown(wait=True)
