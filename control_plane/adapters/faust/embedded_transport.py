"""Faust's transport for `embedded://`: consumers and a producer on the log of this very process.

A group has one member here, so membership is played in the process, with Faust's real assignor; the rest of Faust
does not notice. Nothing waits for a timer: a record that is appended wakes the consumers of its partition.
"""

# mypy: disallow-subclassing-any=False

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from faust.transport import base
from faust.transport.consumer import Consumer
from faust.types import TP
from faust.types.tuples import RecordMetadata
from yarl import URL

from control_plane.adapters.embedded_log import Append, EmbeddedLog, GroupOffset
from control_plane.adapters.faust.hot_path import HotPath
from control_plane.adapters.faust.lane import Standing
from control_plane.adapters.faust.library_logs import SERVICES
from control_plane.adapters.faust.own_rows import unpacked
from control_plane.adapters.faust.partitioner import partition_of
from control_plane.adapters.faust.row_store import PartitionRows, RowsStore
from control_plane.ports.backbone import BATCH_RECORDS_MAX, Record

MEMBER = "this process"
RESTORE_RECORDS_MAX = 1_000
RESTORE_BYTES_MAX = 4 << 20


class EmbeddedCluster:
    """As much of a Kafka cluster's metadata as Faust's assignor asks for."""

    def __init__(self, log: EmbeddedLog) -> None:
        self._log = log

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        found = self._log.topics().get(topic)
        return None if found is None else set(range(found.partitions))


class EmbeddedConsumer(HotPath, Consumer):
    """A group's consumer on the embedded log."""

    logger = SERVICES

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._log: EmbeddedLog = self.transport.log
        self._group: str = self.app.conf.id
        self._topics: set[str] = set()
        self._assignment: set[TP] = set()
        self._generation = 0
        self._positions: dict[TP, int] = {}
        self._appended = asyncio.Event()
        self._rebalancing = asyncio.Lock()
        self._forget = self._log.on_append(self._on_append)

    # Membership.

    async def subscribe(self, topics: Iterable[str]) -> None:
        """Does not wait for the rebalance: Faust's Conductor lets it go on only after this returns."""
        self._topics = set(topics)
        self.add_future(self.rebalance())

    async def rebalance(self) -> None:
        """Everything revoked and assigned again, in the order in which Faust expects it."""
        async with self._rebalancing:
            self.app.on_rebalance_start()
            await self.on_partitions_revoked(set(self._assignment))
            self._generation += 1
            self.app.consumer_generation_id = self._generation
            self._assignment = self._assign()
            await self.on_partitions_assigned(set(self._assignment), self._generation)

    def _assign(self) -> set[TP]:
        """Faust's assignor is told what it would be told by a broker: recovery and tables ask it for the outcome."""
        assignor = self.app.assignor
        shares = assignor.assign(EmbeddedCluster(self._log), {MEMBER: assignor.metadata(self._topics)})
        assignor.on_assignment(shares[MEMBER])
        return {TP(topic, partition) for topic, partitions in shares[MEMBER].assignment for partition in partitions}

    def assignment(self) -> set[TP]:
        return self._assignment

    # Fetching.

    async def fetch(self, tps: set[TP]) -> Mapping[TP, Sequence[Record]]:
        found = self._fetched(tps)
        if not found:
            self._appended.clear()
            await self._appended.wait()
            found = self._fetched(tps)
        if self.app.part.acts_outside:
            await self._log.durable()
        return found

    def _fetched(self, tps: set[TP]) -> dict[TP, list[Record]]:
        found = {}
        for tp in tps:
            records = self._log.read(tp.topic, tp.partition, self._positions[tp], max_records=BATCH_RECORDS_MAX)
            if records:
                found[tp] = records
                self._positions[tp] = records[-1].offset + 1
        return found

    def _on_append(self, topic: str, partition: int) -> None:
        if (topic, partition) in self._opened:
            self._appended.set()

    def wake(self) -> None:
        self._appended.set()

    async def seek_all(self, offsets: Mapping[TP, int]) -> None:
        self._positions.update(offsets)

    # Where to go on.

    async def standings(self, tps: set[TP]) -> dict[TP, Standing]:
        return {tp: self._standing(tp) for tp in tps}

    def _standing(self, tp: TP) -> Standing:
        committed = self._log.committed(self._group, tp.topic, tp.partition)
        first, end = self._log.bounds(tp.topic, tp.partition)
        if committed is None:
            return Standing(committed=None, metadata=b"", first=first, end=end)
        generation, mark = unpacked(committed.metadata)
        return Standing(committed=committed.offset, metadata=mark, first=first, end=end, generation=generation)

    async def ends(self, tps: set[TP]) -> Mapping[TP, int]:
        return await self.highwaters(*tps)

    async def rejoin(self) -> None:
        await self.rebalance()

    async def restore_rows(self, tps: set[TP], store: RowsStore) -> None:
        for tp in tps:
            rows = self._rows_of_this_log(tp, store)
            await self._restore(tp, rows)

    def _rows_of_this_log(self, tp: TP, store: RowsStore) -> PartitionRows:
        """The stored rows, unless they came from a log that is no longer this one."""
        rows = store.rows(tp.partition)
        have = rows.changelog_offset()
        _, end = self._log.bounds(tp.topic, tp.partition)
        if have is not None and (have >= end or rows.generation() != self._log.generation):
            rows = store.drop(tp.partition)
        rows.set_generation(self._log.generation)
        return rows

    async def _restore(self, tp: TP, rows: PartitionRows) -> None:
        have = rows.changelog_offset()
        offset = 0 if have is None else have + 1
        while records := self._log.read(
            tp.topic, tp.partition, offset, max_records=RESTORE_RECORDS_MAX, max_bytes=RESTORE_BYTES_MAX
        ):
            rows.write([(one.key, one.value) for one in records], records[-1].offset)
            offset = records[-1].offset + 1
            await asyncio.sleep(0)

    # What Faust asks of a Consumer.

    async def on_stop(self) -> None:
        self._forget()
        await super().on_stop()

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """For Faust's own commits, of which the hot path leaves none."""
        self._log.write([], [GroupOffset(self._group, tp.topic, tp.partition, at, b"") for tp, at in offsets.items()])
        return True

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Mapping[TP, Sequence[Any]]:
        """For Faust's own fetching, which the hot path replaces."""
        return await self.fetch(self._opened)

    def _new_topicpartition(self, topic: str, partition: int) -> TP:
        return TP(topic, partition)

    def _to_message(self, tp: TP, record: Any) -> Any:
        raise NotImplementedError("records go to lanes, never to Faust's streams")

    async def _seek(self, partition: TP, offset: int) -> None:
        self._positions[partition] = offset

    async def seek_wait(self, partitions: Mapping[TP, int]) -> None:
        self._positions.update(partitions)

    async def seek_to_committed(self) -> Mapping[TP, int]:
        standings = await self.standings(self._assignment)
        return {tp: one.committed for tp, one in standings.items() if one.committed is not None}

    async def position(self, tp: TP) -> int | None:
        return self._positions.get(tp)

    def highwater(self, tp: TP) -> int:
        return self._log.bounds(tp.topic, tp.partition)[1]

    async def highwaters(self, *partitions: TP) -> Mapping[TP, int]:
        return {tp: self.highwater(tp) for tp in partitions}

    async def earliest_offsets(self, *partitions: TP) -> Mapping[TP, int]:
        return {tp: self._log.bounds(tp.topic, tp.partition)[0] for tp in partitions}

    def topic_partitions(self, topic: str) -> int | None:
        found = self._log.topics().get(topic)
        return None if found is None else found.partitions

    def key_partition(self, topic: str, key: bytes | None, partition: int | None = None) -> int | None:
        count = self.topic_partitions(topic)
        if partition is not None or count is None:
            return partition
        return partition_of(key or b"", count)

    async def create_topic(self, *args: Any, **kwargs: Any) -> None:
        """Creates nothing: every topic is there before an app starts."""


class EmbeddedProducer(base.Producer):
    """For what Faust itself would send; the backbone writes to the log directly."""

    logger = SERVICES

    async def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int | None,
        timestamp: float | None,
        headers: Any,
        *,
        transactional_id: str | None = None,
    ) -> Any:
        tp = TP(topic, partition) if partition is not None else self.key_partition(topic, key or b"")
        [position] = self._log.write([Append(topic, tp.partition, key or b"", value or b"")])
        sent: asyncio.Future[RecordMetadata] = self.loop.create_future()
        sent.set_result(RecordMetadata(topic, tp.partition, tp, position.offset))
        return sent

    async def send_and_wait(self, *args: Any, **kwargs: Any) -> Any:
        return await (await self.send(*args, **kwargs))

    async def create_topic(self, *args: Any, **kwargs: Any) -> None:
        """Creates nothing: every topic is there before an app starts."""

    def key_partition(self, topic: str, key: bytes) -> TP:
        return TP(topic, partition_of(key, self._log.topics()[topic].partitions))

    def supports_headers(self) -> bool:
        return True

    @property
    def _log(self) -> EmbeddedLog:
        return cast(EmbeddedTransport, self.transport).log


class EmbeddedTransport(base.Transport):
    """Makes our Consumer and Producer, on a log that is open."""

    Consumer = EmbeddedConsumer
    Producer = EmbeddedProducer
    driver_version = "embedded"

    def __init__(self, url: list[URL], app: Any, *, log: EmbeddedLog) -> None:
        super().__init__(url, app)
        self.log = log
