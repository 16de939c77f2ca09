"""What is Kafka's own in the backbone: topics, transport, the producer, and how commits are written."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from yarl import URL

from control_plane.adapters.faust.kafka_address import KafkaAddress
from control_plane.adapters.faust.kafka_lines import KafkaLines
from control_plane.adapters.faust.kafka_range import records_between
from control_plane.adapters.faust.kafka_standby import KafkaStandby
from control_plane.adapters.faust.kafka_transport import KafkaConsumer, KafkaProducer, KafkaTransport
from control_plane.adapters.faust.kafka_words import KafkaWords
from control_plane.adapters.faust.kafka_writer import GROUP_COMMIT_PAUSE_S, KafkaOffsets, KafkaWriter
from control_plane.adapters.faust.parts import Failed, GroupPart, OwnerPart
from control_plane.adapters.faust.pinned import GroupApp, new_app
from control_plane.adapters.faust.topic_watch import TopicWatch
from control_plane.adapters.faust.topics import Names
from control_plane.ports.backbone import Output, Position


class KafkaSide:
    """Opened with the backbone, closed with it."""

    def __init__(
        self,
        address: KafkaAddress,
        *,
        names: Names,
        data_dir: Path,
        member: Callable[[], str],
        standbys: int,
        failed: Failed,
    ) -> None:
        self.topics = TopicWatch(address, names.plan(), failed)
        self._address = address
        self._names = names
        self._data_dir = data_dir
        self._member = member
        self._standbys = standbys
        self._producer: KafkaProducer | None = None
        self._writer: KafkaWriter | None = None

    async def open(self) -> None:
        await self.topics.open()
        # Of an app that is never started: Faust would make a consumer with it, and a thread that nobody ends.
        self._producer = self._app("producer").producer
        await self._producer.start()
        self._writer = KafkaWriter(self._producer._ensure_producer, self._names)
        self.words = KafkaWords(self._address, self._names, self._writer)

    async def close(self) -> None:
        await self.topics.close()
        producer, self._producer, self._writer = self._producer, None, None
        if producer is not None:
            await producer.stop()

    def app(self, group: str) -> GroupApp:
        """An app for a group, on the process's one producer, which is started and stopped apart from it."""
        app = self._app(group)
        assert self._producer is not None, "the log is opened before groups are joined"
        app.producer = self._producer
        app.boot_strategy.enable_kafka_producer = False
        return app

    def prepare(self, part: OwnerPart | GroupPart) -> None:
        """Give a part its way to write."""

        def consumer() -> KafkaConsumer:
            return _consumer_of(part)

        if isinstance(part, GroupPart):
            part.offsets = KafkaOffsets(consumer, part.failed, pause_s=GROUP_COMMIT_PAUSE_S)
        else:
            assert self._producer is not None, "the log is opened before groups are joined"
            part.lines = KafkaLines(
                new_producer=self._producer.fencing,
                offsets=KafkaOffsets(consumer, part.failed),
                names=self._names,
                owner=self._member(),
                read=partial(records_between, self._address),
                failed=part.failed,
            )
            part.standby = KafkaStandby(self._address, self._names.changelog, part.failed)

    async def append(self, outputs: Sequence[Output]) -> Sequence[Position]:
        return await self._ready().append(outputs)

    def _ready(self) -> KafkaWriter:
        assert self._writer is not None, "the backbone is started before anything is written"
        return self._writer

    def _app(self, group: str) -> GroupApp:
        app = new_app(
            self._names.group(group),
            broker=self._address.broker,
            names=self._names,
            data_dir=self._data_dir,
            member=self._member(),
            standbys=self._standbys,
            options=self._address.app_options(),
        )
        app.transport = app.producer_transport = KafkaTransport(
            [URL(f"kafka://{s}") for s in self._address.servers], app
        )
        return app


def _consumer_of(part: OwnerPart | GroupPart) -> KafkaConsumer:
    consumer: KafkaConsumer = part.app.consumer
    return consumer
