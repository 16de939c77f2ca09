"""Reading a log without taking part in it (control_plane.ports.log_reader), on Kafka and on the embedded log.

Blocking, for replay and listings; never used on the event loop. Neither way leaves a trace in the log.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from control_plane.adapters.embedded_log import EmbeddedLog
from control_plane.adapters.faust.embedded_side import EmbeddedAddress
from control_plane.adapters.faust.kafka_address import KafkaAddress
from control_plane.adapters.faust.kafka_topics import (
    CONNECT_TIMEOUT_S,
    connected_admin,
    look_at_topics,
    partition_counts,
)
from control_plane.adapters.faust.library_logs import tame
from control_plane.adapters.faust.topic_settings import TopicFinding
from control_plane.adapters.faust.topics import APP_ID, Names
from control_plane.adapters.faust.unreachable import unreachable, why_unreachable
from control_plane.errors import InvalidSettings
from control_plane.ports.backbone import Record
from control_plane.ports.log_reader import LogReader
from control_plane.settings import NO_SECURITY, KafkaSecurity

CHUNK_RECORDS_MAX = 1_000

_T = TypeVar("_T")


def open_log_reader(
    url: str, *, topic_prefix: str = "", app_id: str = APP_ID, security: KafkaSecurity = NO_SECURITY
) -> LogReader:
    """A reader of the log at a backbone's URL. Raises BackboneUnavailable, DataTooNew, InvalidSettings."""
    scheme = url.partition("://")[0]
    if scheme == "embedded":
        return EmbeddedLogReader(EmbeddedAddress.parse(url).path, Names(prefix="", app_id=app_id))
    if scheme == "kafka":
        address = KafkaAddress.parse(url, security)
        return KafkaLogReader(address, Names(prefix=topic_prefix or address.prefix, app_id=app_id))
    raise InvalidSettings(f"log {url!r} cannot be read. Write embedded://PATH or kafka://host:port.")


def topic_findings(url: str, *, partitions: int, security: KafkaSecurity = NO_SECURITY) -> Sequence[TopicFinding]:
    """What is wrong with the topics of a log on Kafka, and what is unusual; none on an embedded log. Blocking. Raises
    BackboneUnavailable, InvalidSettings when Kafka does not let us in."""
    if not url.startswith("kafka://"):
        return ()
    tame()
    address = KafkaAddress.parse(url, security)
    names = Names(prefix=address.prefix, app_id=APP_ID, partitions=partitions)
    return asyncio.run(look_at_topics(address, names.plan()))


class EmbeddedLogReader:
    """Reads the files of an embedded log, also while its owner writes them."""

    def __init__(self, path: Path, names: Names) -> None:
        self._names = names
        self._log = EmbeddedLog.open(path, read_only=True)

    def partitions(self, topic: str) -> int:
        self._log.refresh()
        found = self._log.topics().get(topic)
        return 0 if found is None else found.partitions

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        self._log.refresh()
        return self._log.bounds(topic, partition)

    def committed_offset(self, group: str, topic: str, partition: int) -> int | None:
        self._log.refresh()
        found = self._log.committed(self._names.group(group), topic, partition)
        return None if found is None else found.offset

    def read(self, topic: str, partition: int, offset: int = 0) -> Iterator[Record]:
        _, end = self.bounds(topic, partition)
        return self._read(topic, partition, offset, end)

    def _read(self, topic: str, partition: int, offset: int, end: int) -> Iterator[Record]:
        while offset < end:
            records = self._log.read(topic, partition, offset, max_records=CHUNK_RECORDS_MAX)
            kept = [record for record in records if record.offset < end]
            yield from kept
            if not kept:
                return
            offset = kept[-1].offset + 1

    def close(self) -> None:
        self._log.close()


class KafkaLogReader:
    """Reads topics with a consumer that is in no group, on an event loop in a thread of its own."""

    def __init__(self, address: KafkaAddress, names: Names) -> None:
        tame()
        self._address = address
        self._names = names
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="log reader", daemon=True)
        self._thread.start()
        try:
            self._known = self._run(self._partition_counts())
        except BaseException:
            self.close()
            raise

    def partitions(self, topic: str) -> int:
        self._known = self._run(self._partition_counts())
        return self._known.get(self._names.on_log(topic), 0)

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        return self._run(self._bounds(TopicPartition(self._names.on_log(topic), partition)))

    def committed_offset(self, group: str, topic: str, partition: int) -> int | None:
        return self._run(
            self._committed(self._names.group(group), TopicPartition(self._names.on_log(topic), partition))
        )

    def read(self, topic: str, partition: int, offset: int = 0) -> Iterator[Record]:
        tp = TopicPartition(self._names.on_log(topic), partition)
        first, end = self._run(self._bounds(tp))
        return self._read(tp, max(first, offset), end)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _read(self, tp: TopicPartition, offset: int, end: int) -> Iterator[Record]:
        if offset >= end:
            return
        consumer = self._run(self._consumer_at(tp, offset))
        try:
            while offset < end:
                chunk, offset = self._run(self._chunk(consumer, tp))
                yield from (self._record(one) for one in chunk if one.offset < end)
        finally:
            self._run(consumer.stop())

    def _record(self, one: Any) -> Record:
        return Record(
            topic=self._names.above(one.topic),
            partition=one.partition,
            offset=one.offset,
            key=one.key or b"",
            value=one.value or b"",
            recorded_ms=one.timestamp,
            headers=tuple(one.headers),
        )

    async def _consumer_at(self, tp: TopicPartition, offset: int) -> AIOKafkaConsumer:
        consumer = await self._started()
        consumer.assign([tp])
        consumer.seek(tp, offset)
        return consumer

    async def _chunk(self, consumer: AIOKafkaConsumer, tp: TopicPartition) -> tuple[list[Any], int]:
        found = await consumer.getmany(tp, timeout_ms=1_000, max_records=CHUNK_RECORDS_MAX)
        return found.get(tp, []), await consumer.position(tp)

    async def _partition_counts(self) -> dict[str, int]:
        async with connected_admin(self._address) as admin:
            return await partition_counts(admin, None)

    async def _committed(self, group: str, tp: TopicPartition) -> int | None:
        async with connected_admin(self._address) as admin:
            try:
                found = await admin.list_consumer_group_offsets(group, partitions=[tp])
            except KafkaError as error:
                raise unreachable(self._address) from error
        return found[tp].offset if tp in found and found[tp].offset >= 0 else None

    async def _bounds(self, tp: TopicPartition) -> tuple[int, int]:
        if tp.partition >= self._known.get(tp.topic, 0):
            raise InvalidSettings(f"there is no {tp.topic}/{tp.partition} on this log. Nothing was read.")
        async with self._consumer() as consumer:
            first = await consumer.beginning_offsets([tp])
            end = await consumer.end_offsets([tp])
            return first[tp], end[tp]

    @asynccontextmanager
    async def _consumer(self) -> AsyncIterator[AIOKafkaConsumer]:
        consumer = await self._started()
        try:
            yield consumer
        finally:
            await consumer.stop()

    async def _started(self) -> AIOKafkaConsumer:
        consumer = AIOKafkaConsumer(
            group_id=None, enable_auto_commit=False, auto_offset_reset="earliest", **self._address.client_options()
        )
        try:
            await asyncio.wait_for(consumer.start(), CONNECT_TIMEOUT_S)
        except (KafkaError, TimeoutError, OSError) as error:
            await consumer.stop()
            raise await why_unreachable(self._address) from error
        return consumer

    def _run(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()
