"""A log for one test: where it is, backbones on it, and a look at it from outside."""

import asyncio
import shutil
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.records_to_delete import RecordsToDelete
from aiokafka.structs import OffsetAndMetadata
from msgspec.structs import replace

from control_plane.adapters.embedded_log import EmbeddedLog
from control_plane.adapters.faust import FaustBackbone, open_log_reader
from control_plane.adapters.memory import MemoryBackbone, MemoryLog
from control_plane.messages.topics import EVENTS
from control_plane.ports.backbone import GroupReader, Output, Owner, Record
from control_plane.ports.log_reader import LogReader
from tests.contract.backbone.owners import without_claims

PARTITIONS = 2


@dataclass
class World:
    """One log, empty at first. `path` is the test's own folder."""

    kind: str
    url: str
    path: Path
    prefix: str = field(default_factory=lambda: f"t{uuid.uuid4().hex[:10]}-")
    _memory: MemoryLog = field(
        default_factory=lambda: MemoryLog(lambda: round(time.time() * 1000), partitions=PARTITIONS)
    )

    @property
    def is_kafka(self) -> bool:
        return self.kind == "kafka"

    @property
    def is_memory(self) -> bool:
        return self.kind.startswith("memory")

    def backbone(self, worker: str = "one", *, partitions: int = PARTITIONS, standbys: int = 0) -> Any:
        """A worker's backbone, with a data directory of its own."""
        if self.is_memory:
            return MemoryBackbone(self._memory, order="stepwise" if self.kind.endswith("not-atomic") else "atomic")
        return FaustBackbone(
            self.url,
            partitions=partitions,
            data_dir=self.path / worker,
            app_id="app",
            topic_prefix=self.prefix,
            standbys=standbys,
        )

    @asynccontextmanager
    async def running(
        self,
        owner: Owner | None = None,
        *,
        groups: dict[str, tuple[tuple[str, ...], GroupReader]] | None = None,
        worker: str = "one",
        standbys: int = 0,
    ) -> AsyncIterator[Any]:
        """A started backbone. What makes it give up fails the test."""
        backbone = self.backbone(worker, standbys=standbys)
        if owner is not None:
            backbone.own_events(owner)
        for group, (topics, reader) in (groups or {}).items():
            backbone.join(group, topics, reader)
        await backbone.start()
        watch = asyncio.create_task(backbone.watch())
        try:
            yield backbone
            if watch.done():
                watch.result()
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)
            await backbone.stop()

    async def read(self, topic: str) -> list[Record]:
        """Every record of a topic but the claims, as a stranger sees them."""
        return without_claims(await asyncio.to_thread(self._read, topic))

    async def claims(self, partition: int = 0) -> list[Record]:
        """What owners have said when they took a partition."""
        found = await asyncio.to_thread(self._read, EVENTS)
        return [
            record for record in found if record.partition == partition and record.key == b"partition/%d" % partition
        ]

    def reader(self) -> LogReader:
        """The log for who only reads it; blocking."""
        if self.is_memory:
            return self._memory
        return open_log_reader(self.url, topic_prefix=self.prefix, app_id="app")

    def _read(self, topic: str) -> list[Record]:
        with closing(self.reader()) as reader:
            partitions = range(reader.partitions(topic))
            return [record for partition in partitions for record in reader.read(topic, partition)]

    def fetched_ahead(self, backbone: Any) -> int:
        """Records of one partition of the loop that wait for their owner, at the most."""
        return 0 if self.is_memory else max(lane.waiting for lane in backbone._owner_part.lanes.values())

    async def rebalance(self, backbone: FaustBackbone) -> None:
        """Have the loop group's partitions revoked and assigned again."""
        consumer = backbone._apps[0].consumer
        if self.is_kafka:
            consumer._thread._consumer._coordinator.request_rejoin()
        else:
            await consumer.rebalance()

    async def go_back(self, partition: int, records: int) -> None:
        """Have the log lose its last records, as far as the loop can tell. Nobody may have it open."""
        if self.is_memory:
            _, end = self._memory.bounds(EVENTS, partition)
            self._memory.lose(EVENTS, partition, at_and_above=end - records)
        elif self.is_kafka:
            await self.commit_ahead_of("loop", EVENTS, partition, records)
        else:
            log = EmbeddedLog.open(self.path / "log")
            found = log.committed("app-loop", EVENTS, partition)
            assert found is not None
            log.write([], [replace(found, offset=found.offset + records)])
            log.close()

    async def commit_ahead_of(self, group: str, topic: str, partition: int, records: int) -> None:
        tp = TopicPartition(self.prefix + topic, partition)
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.address, group_id=f"{self.prefix}app-{group}", enable_auto_commit=False
        )
        await consumer.start()
        consumer.assign([tp])
        [found] = (await consumer._coordinator.fetch_committed_offsets([tp])).values()
        await consumer.commit({tp: OffsetAndMetadata(found.offset + records, found.metadata)})
        await consumer.stop()

    async def cut(self, partition: int, below: int) -> None:
        """Have a Kafka forget the beginning of a partition."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.address)
        await admin.start()
        tp = TopicPartition(self.prefix + EVENTS, partition)
        await admin.delete_records({tp: RecordsToDelete(before_offset=below)})
        await admin.close()

    async def recreate(self, topic: str) -> None:
        """Have somebody delete a topic and make it again, empty."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.address)
        await admin.start()
        await admin.delete_topics([self.prefix + topic])
        async with asyncio.timeout(20):
            while self.prefix + topic in await admin.list_topics():  # noqa: ASYNC110 - Kafka tells nobody
                await asyncio.sleep(0.02)
        await admin.close()

    @property
    def address(self) -> str:
        return self.url.removeprefix("kafka://")

    async def wipe(self) -> None:
        """Lose the log. Nobody may have it open."""
        if self.is_kafka:
            await self.clean()
        else:
            shutil.rmtree(self.path / "log")

    async def clean(self) -> None:
        """Leave a shared Kafka as it was."""
        if not self.is_kafka:
            return
        admin = AIOKafkaAdminClient(bootstrap_servers=self.url.removeprefix("kafka://"))
        await admin.start()
        try:
            async with asyncio.timeout(20):
                while mine := [topic for topic in await admin.list_topics() if topic.startswith(self.prefix)]:
                    await admin.delete_topics(mine)
        finally:
            await admin.close()


def events(count: int, *, keys: int = 5, first: int = 0) -> list[Output]:
    """Records for `events.v1`, going round so many keys."""
    return [Output(EVENTS, b"k%d" % (n % keys), b"event %d" % n) for n in range(first, first + count)]
