"""Where a person's words stand on Kafka (words.WordLog).

Reads on where it stopped, so that looking often costs little.
"""

from aiokafka import AIOKafkaConsumer, TopicPartition

from control_plane.adapters.faust.kafka_address import KafkaAddress
from control_plane.adapters.faust.kafka_range import records_between
from control_plane.adapters.faust.kafka_topics import connected_admin
from control_plane.adapters.faust.kafka_writer import KafkaWriter
from control_plane.adapters.faust.own_rows import WORD_KEY, decode_word, encode_word
from control_plane.adapters.faust.topics import Names
from control_plane.adapters.faust.words import Place
from control_plane.messages.topics import EVENTS
from control_plane.ports.backbone import LOOP_GROUP, WentOn


class KafkaWords:
    """Of all partitions."""

    def __init__(self, address: KafkaAddress, names: Names, writer: KafkaWriter) -> None:
        self._address = address
        self._names = names
        self._writer = writer
        self._read: dict[int, tuple[int, WentOn]] = {}

    async def word_on(self, partition: int) -> WentOn:
        next_offset, word = self._read.get(partition, (0, WentOn(partition=partition)))
        async for record in records_between(self._address, self._names.changelog, partition, next_offset):
            next_offset = record.offset + 1
            if record.key == WORD_KEY:
                word = decode_word(record.value, partition)
        self._read[partition] = (next_offset, word)
        return word

    async def say(self, word: WentOn) -> None:
        await self._writer.write_apart(self._names.changelog, word.partition, WORD_KEY, encode_word(word))

    async def place(self, partition: int) -> Place:
        tp = TopicPartition(self._names.on_log(EVENTS), partition)
        async with connected_admin(self._address) as admin:
            found = await admin.list_consumer_group_offsets(self._names.group(LOOP_GROUP), partitions=[tp])
        committed = found[tp].offset if tp in found and found[tp].offset >= 0 else None
        consumer = AIOKafkaConsumer(group_id=None, enable_auto_commit=False, **self._address.client_options())
        try:
            await consumer.start()
            first, end = await consumer.beginning_offsets([tp]), await consumer.end_offsets([tp])
        finally:
            await consumer.stop()
        return Place(committed, first[tp], end[tp])
