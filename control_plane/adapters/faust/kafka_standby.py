"""The rows of partitions that other workers own, kept warm on this one's disk: who takes such a partition over has only
the last moments of its changelog to read.

Faust's assignor says whose rows are kept where. Faust would read them with the group's own consumer, where records that
wait to be taken hold up those of owned partitions; here a consumer in no group reads them.
"""

import asyncio
import logging
from collections.abc import Collection, Mapping

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from control_plane.adapters.faust.kafka_address import KafkaAddress
from control_plane.adapters.faust.parts import Failed
from control_plane.adapters.faust.row_store import RowsStore

GATHER_MS = 500
GATHERED_BYTES = 256 * 1024
"""Nobody waits for these rows, and each answer of the broker costs as much as many of them."""
CHUNK_RECORDS_MAX = 250
"""So few at a time, so that a partition that is owned is not held up by one that is not."""
RETRY_S = 1.0

_log = logging.getLogger(__name__)


class KafkaStandby:
    """Follows from one rebalance to the next (parts.Standby)."""

    def __init__(self, address: KafkaAddress, changelog: str, failed: Failed) -> None:
        self._address = address
        self._changelog = changelog
        self._failed = failed
        self._behind: dict[int, int] = {}
        self._task: asyncio.Task[None] | None = None

    def follow(self, partitions: Collection[int], store: RowsStore) -> None:
        """Keep these partitions' rows from now on, and no others."""
        assert self._task is None, "one set of partitions is let go before the next is followed"
        if partitions:
            self._task = asyncio.create_task(self._follow(sorted(partitions), store), name="standby")
            self._task.add_done_callback(self._ended)

    async def end(self) -> None:
        """Nothing is written to the store after this returns."""
        task, self._task = self._task, None
        self._behind = {}
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    def lag(self) -> Mapping[int, int]:
        """By partition, how many records of the changelog are not here yet, as far as the broker has said."""
        return dict(self._behind)

    async def _follow(self, partitions: Collection[int], store: RowsStore) -> None:
        said = ""
        while True:
            try:
                await self._read(partitions, store)
            except KafkaError as error:
                if str(error) != said:  # Once, not every second of an outage.
                    said = str(error)
                    _log.warning("rows that are kept for others cannot be read; trying again", extra={"why": said})
            await asyncio.sleep(RETRY_S)

    async def _read(self, partitions: Collection[int], store: RowsStore) -> None:
        consumer = AIOKafkaConsumer(
            group_id=None,
            enable_auto_commit=False,
            # Where the changelog was cut, its end is looked at again before anything is read.
            auto_offset_reset="none",
            fetch_max_wait_ms=GATHER_MS,
            fetch_min_bytes=GATHERED_BYTES,
            **self._address.client_options(),
        )
        try:
            await consumer.start()
            tps = [TopicPartition(self._changelog, partition) for partition in partitions]
            consumer.assign(tps)
            first, end = await consumer.beginning_offsets(tps), await consumer.end_offsets(tps)
            for tp in tps:
                consumer.seek(tp, store.rows_of_log(tp.partition, end[tp]).next_offset(first[tp]))
            while True:
                found = await consumer.getmany(max_records=CHUNK_RECORDS_MAX, timeout_ms=GATHER_MS)
                for tp, records in found.items():
                    # Asked for each time: after a rebalance the store may have closed what it had open.
                    rows = [(one.key, one.value or b"") for one in records]
                    store.rows(tp.partition).write(rows, records[-1].offset)
                for tp in tps:
                    self._behind[tp.partition] = max(0, (consumer.highwater(tp) or 0) - await consumer.position(tp))
        finally:
            await consumer.stop()

    def _ended(self, task: "asyncio.Task[None]") -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._failed(error)
