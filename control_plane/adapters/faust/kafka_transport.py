"""Faust's transport for `kafka://`, on its aiokafka driver: batches of records instead of messages.

Faust gives each consumer a thread with an event loop of its own. Ours run on the process's one loop: with five groups
their threads spent most of their time in handing one interpreter lock around (docs/performance.md).
"""

# mypy: disallow-subclassing-any=False

import asyncio
import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aiokafka.errors import CommitFailedError, IllegalStateError
from aiokafka.structs import OffsetAndMetadata
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from mode.utils.futures import maybe_async

from control_plane.adapters.faust.hot_path import HotPath
from control_plane.adapters.faust.lane import Standing
from control_plane.adapters.faust.library_logs import SERVICES
from control_plane.adapters.faust.own_rows import unpacked
from control_plane.adapters.faust.owner_lane import Superseded
from control_plane.adapters.faust.row_store import RowsStore
from control_plane.ports.backbone import BATCH_RECORDS_MAX, Record

FETCH_WAIT_S = 1.0
BROKER_WAIT_MS = 250
"""How long the broker may hold back an empty answer. A seek waits for the answer before it, so it must be short."""
GATHERED_BYTES = 256 * 1024
"""From how many on the broker answers a group that may gather before its time is over."""


class HotConsumer(driver.AIOKafkaConsumerThread):
    """Faust's thread around aiokafka's consumer, without the thread, with calls for batches, marks and seeks."""

    logger = SERVICES
    above: Callable[[str], str]

    def __post_init__(self) -> None:
        super().__post_init__()
        self._waiters: set[asyncio.Future[Any]] = set()

    async def start(self) -> None:
        """Starts on the loop that it is called on; Faust would start a thread."""
        self._thread_started.set()
        await self._default_start()

    async def call_thread(self, fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Calls it; Faust would queue the call for the thread. Some of its calls are coroutines and some are not."""
        return await maybe_async(fun(*args, **kwargs))

    async def _stop_children(self) -> None:
        """With `_stop_futures` and `_stop_exit_stacks`: what Faust leaves to the thread as it ends."""
        await self.on_thread_stop()
        await self._default_stop_children()
        self._shutdown.set()

    async def _stop_futures(self) -> None:
        """See `_stop_children`."""
        await self._default_stop_futures()

    async def _stop_exit_stacks(self) -> None:
        """See `_stop_children`."""
        await self._default_stop_exit_stacks()

    def _create_worker_consumer(self, transport: Any) -> Any:
        """Shortens the broker's wait, which Faust fixes at 1.5 s; every seek at the end of a log would wait for it.

        For a group that may gather, the broker holds back a small answer instead: each answer costs as much as many
        records."""
        consumer = super()._create_worker_consumer(transport)
        gather_ms = self.app.part.gather_ms
        consumer._fetch_max_wait_ms = gather_ms or BROKER_WAIT_MS
        if gather_ms:
            consumer._fetch_min_bytes = GATHERED_BYTES
        return consumer

    async def on_thread_stop(self) -> None:
        """Leaves the group: a static member's partitions would else be silent until its session runs out (6 to 11 s).

        A killed worker does not come here, and is known again by its name when it comes back.
        """
        if self._consumer is not None and self._consumer._coordinator is not None:
            self._consumer._coordinator._group_instance_id = None
        await super().on_thread_stop()

    async def fetch(self, tps: set[TP], records_max: int | None) -> dict[TP, list[Record]]:
        """At most so many records of each partition; waits a while when there are none."""
        found = await self._fetched(tps, records_max)
        if not found:
            await self._wait()
            found = await self._fetched(tps, records_max)
        return found

    async def _fetched(self, tps: set[TP], records_max: int | None) -> dict[TP, list[Record]]:
        fetcher = self._ensure_consumer()._fetcher
        found = {}
        for tp in list(tps):
            raw = (await fetcher.fetched_records({tp}, timeout=0, max_records=records_max)).get(tp)
            if raw:
                found[tp] = self._records(raw)
        return found

    async def _wait(self) -> None:
        waiter = self._ensure_consumer()._fetcher._create_fetch_waiter()
        self._waiters.add(waiter)
        try:
            await asyncio.wait([waiter], timeout=FETCH_WAIT_S)
        finally:
            self._waiters.discard(waiter)
            waiter.cancel()

    def wake(self) -> None:
        """Let a waiting `fetch` look again."""
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _records(self, raw: Sequence[Any]) -> list[Record]:
        topic = self.above(raw[0].topic)
        return [
            Record(
                topic=topic,
                partition=one.partition,
                offset=one.offset,
                key=one.key or b"",
                value=one.value or b"",
                recorded_ms=one.timestamp,
                headers=tuple(one.headers),
            )
            for one in raw
        ]

    async def seek_all(self, offsets: Mapping[TP, int]) -> None:
        consumer = self._ensure_consumer()
        for tp, offset in offsets.items():
            consumer.seek(driver.ensure_aiokafka_TP(tp), offset)

    async def bounds(self, tps: set[TP]) -> dict[TP, tuple[int, int]]:
        if not tps:
            return {}
        consumer = self._ensure_consumer()
        wanted = driver.ensure_aiokafka_TPset(tps)
        first = await consumer.beginning_offsets(wanted)
        end = await consumer.end_offsets(wanted)
        return {TP(*tp): (first[tp], end[tp]) for tp in wanted}

    async def ends(self, tps: set[TP]) -> dict[TP, int]:
        found = await self._ensure_consumer().end_offsets(driver.ensure_aiokafka_TPset(tps))
        return {TP(*tp): end for tp, end in found.items()}

    async def standings(self, tps: set[TP]) -> dict[TP, Standing]:
        if not tps:
            return {}
        consumer = self._ensure_consumer()
        # The public call gives the offset without its metadata.
        committed = await consumer._coordinator.fetch_committed_offsets(list(driver.ensure_aiokafka_TPset(tps)))
        bounds = await self.bounds(tps)
        return {tp: _standing(committed.get(driver.ensure_aiokafka_TP(tp)), *bounds[tp]) for tp in tps}

    async def commit_marks(self, offsets: Mapping[TP, tuple[int, bytes]]) -> None:
        """Commit offsets with their marks. Raises Superseded when the group has given the partitions away."""
        consumer = self._ensure_consumer()
        try:
            await consumer.commit(
                {
                    driver.ensure_aiokafka_TP(tp): OffsetAndMetadata(offset, base64.b64encode(mark).decode())
                    for tp, (offset, mark) in offsets.items()
                }
            )
        except (CommitFailedError, IllegalStateError) as error:
            raise Superseded(str(error)) from error

    def rejoin(self) -> None:
        """Have the group share its partitions anew. Called from any thread."""
        self.thread_loop.call_soon_threadsafe(self._ensure_consumer()._coordinator.request_rejoin)

    async def pause(self, tps: set[TP]) -> None:
        self._ensure_consumer().pause(*driver.ensure_aiokafka_TPset(tps))

    async def resume(self, tps: set[TP]) -> None:
        self._ensure_consumer().resume(*driver.ensure_aiokafka_TPset(tps))


class KafkaConsumer(HotPath, driver.Consumer):
    """A group's consumer on Kafka."""

    logger = SERVICES
    _thread: HotConsumer

    def _new_consumer_thread(self) -> HotConsumer:
        """Ours, where Faust makes a thread."""
        hot = HotConsumer(self, loop=self.loop, thread_loop=self.loop, beacon=self.beacon)
        hot.above = self.app.part.above
        return hot

    async def fetch(self, tps: set[TP]) -> Mapping[TP, Sequence[Record]]:
        return await self._thread.fetch(tps, BATCH_RECORDS_MAX)

    def wake(self) -> None:
        self._thread.wake()

    async def seek_all(self, offsets: Mapping[TP, int]) -> None:
        await self._thread.seek_all(offsets)

    async def standings(self, tps: set[TP]) -> dict[TP, Standing]:
        return await self._thread.standings(tps)

    async def ends(self, tps: set[TP]) -> Mapping[TP, int]:
        return await self._thread.ends(tps) if tps else {}

    async def commit_marks(self, offsets: Mapping[TP, tuple[int, bytes]]) -> None:
        await self._thread.commit_marks(offsets)

    async def rejoin(self) -> None:
        self._thread.rejoin()

    async def restore_rows(self, tps: set[TP], store: RowsStore) -> None:
        hot = self._thread
        bounds = await hot.bounds(tps)
        kept = {tp: store.rows_of_log(tp.partition, bounds[tp][1]) for tp in tps}
        begins = {tp: rows.next_offset(bounds[tp][0]) for tp, rows in kept.items()}
        behind = {tp: kept[tp] for tp in tps if begins[tp] < bounds[tp][1]}
        await hot.resume(tps)
        await self.seek_all({tp: begins[tp] for tp in behind})
        while behind:
            for tp, records in (await hot.fetch(set(behind), None)).items():
                behind[tp].write([(one.key, one.value) for one in records], records[-1].offset)
                if records[-1].offset + 1 >= bounds[tp][1]:
                    del behind[tp]
        # Their own changelog is never fetched while a partition is owned.
        await hot.pause(tps)


class KafkaProducer(driver.Producer):
    """The process's one producer: idempotent, acknowledged by all replicas. Rows and what follows from them go through
    a producer of each partition's own, see `kafka_fence`."""

    logger = SERVICES

    def _settings_extra(self) -> Mapping[str, Any]:
        """Retries must neither repeat nor reorder; Faust asks for that in its exactly-once mode only."""
        return {"acks": "all", "enable_idempotence": True}

    async def create_topic(self, *args: Any, **kwargs: Any) -> None:
        """Creates nothing: every topic is there before an app starts, with settings that Faust does not know."""

    async def flush(self) -> None:
        """Waits for nothing: each record's sender waits for it. Faust calls this under a time-out while it rebalances,
        and takes the time-out for a stop of the service."""

    def fencing(self, transactional_id: str) -> Any:
        """Another one with the same settings, for a partition's owner; not started."""
        return self._new_producer(transactional_id)


class KafkaTransport(driver.Transport):
    """Makes our Consumer and Producer where Faust makes its own."""

    Consumer = KafkaConsumer
    Producer = KafkaProducer


def _standing(committed: OffsetAndMetadata | None, first: int, end: int) -> Standing:
    if committed is None or committed.offset < 0:
        return Standing(committed=None, metadata=b"", first=first, end=end)
    try:
        generation, mark = unpacked(base64.b64decode(committed.metadata, validate=True))
    except binascii.Error:
        # Committed by some tool, not by us: the offset counts, there is no mark with it.
        generation, mark = 0, b""
    return Standing(committed=committed.offset, metadata=mark, first=first, end=end, generation=generation)
