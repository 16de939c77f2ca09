"""The Kafka trigger on a real Kafka: every record once, through restarts, crashes, sharing and deletion."""

import asyncio
import logging
import re
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete

from control_plane.adapters.memory import MemoryPositions, VirtualClock
from control_plane.adapters.system import SystemClock
from control_plane.errors import InvalidWorkspace, StorageFull
from control_plane.triggers import Trigger, build_trigger
from control_plane.triggers.kafka_taking import Taken
from control_plane.triggers.kafka_topic import KafkaKeys, KafkaTrigger, examine_kafka
from tests.unit.triggers_world import PATIENCE_S, World, as_json, running

PARTITIONS = 4
EVENT = {"type": "order.placed", "subject": '"order/" + item.number'}


class Topic:
    """A topic of another system, and its producer."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.name = f"orders-{uuid.uuid4().hex[:10]}"
        self._producer: AIOKafkaProducer | None = None

    @asynccontextmanager
    async def there(self) -> AsyncIterator["Topic"]:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.address)
        await admin.start()
        self._producer = AIOKafkaProducer(bootstrap_servers=self.address)
        try:
            await admin.create_topics([NewTopic(self.name, PARTITIONS, 1)])
            await self._known(admin)
            await self._producer.start()
            yield self
        finally:
            await self._producer.stop()
            await admin.delete_topics([self.name])
            await admin.close()

    async def _known(self, admin: AIOKafkaAdminClient) -> None:
        """A topic that was just created is known to clients a moment later, and asking is the only way to know."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                [told] = await admin.describe_topics([self.name])
                if len(told["partitions"]) == PARTITIONS and not told["error_code"]:
                    return
                await asyncio.sleep(0.02)

    async def write(self, *values: bytes, partition: int = 0, **more: Any) -> None:
        assert self._producer is not None
        for value in values:
            await self._producer.send(self.name, value, partition=partition, **more)
        await self._producer.flush()

    async def delete_before(self, partition: int, offset: int) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.address)
        await admin.start()
        try:
            await admin.delete_records({TopicPartition(self.name, partition): RecordsToDelete(before_offset=offset)})
        finally:
            await admin.close()


@pytest.fixture
async def topic(kafka_address: str) -> AsyncIterator[Topic]:
    async with Topic(kafka_address).there() as topic:
        yield topic


@pytest.fixture
def world() -> World:
    return World(clock=SystemClock())  # type: ignore[arg-type]


def a_trigger(world: World, topic: Topic, **keys: Any) -> Trigger:
    definition = {"name": "orders", "kind": "kafka", "servers": [topic.address], "topic": topic.name, "event": EVENT}
    return build_trigger({**definition, "group": f"g-{topic.name}", **keys}, world.tools)


def order(number: int) -> bytes:
    return as_json({"number": str(number)})


def numbers(world: World) -> list[int]:
    """What came, a repeated event once."""
    return sorted(
        int(subject.removeprefix("order/"))
        for subject in {e.lineage.message_id: e.subject for e in world.events}.values()
    )


@pytest.mark.kafka
async def test_records_become_events_and_what_is_none_a_dead_letter(world: World, topic: Topic) -> None:
    event = EVENT | {"data": {"key": "key", "trace": 'headers["trace"]', "partition": "partition", "offset": "offset"}}
    async with running(a_trigger(world, topic, event=event)):
        await topic.write(order(7), partition=2, key=b"k", headers=[("trace", b"t1")])
        await topic.write(b"no json", order(8), b"", partition=2, headers=[("trace", b"t2")])
        await world.until(lambda: len(world.events) == 2 and len(world.letters) == 2)

    first = world.events[0]
    assert first.data == {"key": "k", "trace": "t1", "partition": 2, "offset": 0}
    assert re.fullmatch(rf"{topic.name}/2/0@\d{{13}}", first.lineage.message_id)
    assert first.lineage.source == "trigger/orders"
    letter = world.letters[0]
    assert letter.detail.startswith(f"topic {topic.name}, partition 2, offset 1: the record is not JSON")
    assert (letter.partition, letter.offset, letter.record) == (2, 1, b"no json")


@pytest.mark.kafka
async def test_cloud_events_are_taken_in_one_piece_and_from_headers(world: World, topic: Topic) -> None:
    event = {"specversion": "1.0", "id": "e1", "source": "shop", "type": "order.placed", "subject": "order/1"}
    headers = [(f"ce_{name}", text.encode()) for name, text in (event | {"id": "e2"}).items()]
    async with running(a_trigger(world, topic, format="cloudevents", event={})):
        await topic.write(as_json(event | {"data": {"a": 1}}))
        await topic.write(as_json({"a": 2}), headers=[*headers, ("content-type", b"application/json")])
        await world.until(lambda: len(world.events) == 2)

    assert [(e.lineage.source, e.lineage.message_id, e.data) for e in world.events] == [
        ("shop", "e1", {"a": 1}),
        ("shop", "e2", {"a": 2}),
    ]


@pytest.mark.kafka
async def test_a_restart_goes_on_where_it_was_also_when_their_group_has_forgotten(world: World, topic: Topic) -> None:
    async def run_once(group: str, wanted: int) -> None:
        for partition in range(PARTITIONS):
            await topic.write(order(wanted + partition), partition=partition)
        async with running(a_trigger(world, topic, group=f"{group}-{topic.name}")):
            await world.until(lambda: len(world.events) >= wanted)

    await run_once("a", PARTITIONS)
    await run_once("a", 2 * PARTITIONS)
    await run_once("b", 3 * PARTITIONS)

    assert len(world.ids) == len(set(world.ids)) == 3 * PARTITIONS


class DiesOnce(MemoryPositions):
    """Positions of a process that dies before its write of what it has read."""

    died = False

    async def write(self, trigger: str, positions: Any) -> None:
        if not self.died and max(positions.values()) > 0:
            self.died = True
            raise StorageFull("The process dies here.")
        await super().write(trigger, positions)


@pytest.mark.kafka
async def test_a_crash_between_events_and_position_repeats_them_byte_by_byte(world: World, topic: Topic) -> None:
    world.positions = DiesOnce()
    await topic.write(*(order(n) for n in range(5)))
    async with running(a_trigger(world, topic)) as task:
        with pytest.raises(StorageFull):
            await task
    before = list(world.outputs)
    async with running(a_trigger(world, topic)):
        await world.until(lambda: len(world.outputs) == 2 * len(before))

    assert before
    assert world.outputs[len(before) :][: len(before)] == before
    assert numbers(world) == list(range(5))


@pytest.mark.kafka
async def test_two_workers_share_the_partitions_and_take_over_from_one_another(world: World, topic: Topic) -> None:
    written = 0

    async def write(count: int) -> None:
        nonlocal written
        for n in range(written, written + count):
            await topic.write(order(n), partition=n % PARTITIONS)
        written += count

    async with running(a_trigger(world, topic)):
        await write(40)
        await world.until(lambda: len(numbers(world)) == 40)
        async with running(a_trigger(world, topic)):
            for _ in range(10):
                await write(20)
            await world.until(lambda: numbers(world) == list(range(written)))
        await write(40)
        await world.until(lambda: numbers(world) == list(range(written)))

    copies: dict[str, bytes] = {}
    for output, name in zip(world.outputs, world.ids, strict=True):
        assert copies.setdefault(name, output.value) == output.value


class ToldWhenWritten(MemoryPositions):
    """Positions that tell when something was written to them."""

    def __init__(self) -> None:
        super().__init__()
        self.written = asyncio.Event()

    async def write(self, trigger: str, positions: Any) -> None:
        await super().write(trigger, positions)
        self.written.set()


@pytest.mark.kafka
async def test_a_trigger_that_starts_with_the_latest_reads_what_comes_while_it_does_not_run(
    world: World, topic: Topic
) -> None:
    world.positions = positions = ToldWhenWritten()
    await topic.write(order(1))
    async with running(a_trigger(world, topic, start="latest")):
        async with asyncio.timeout(PATIENCE_S):
            await positions.written.wait()
    assert world.events == []

    await topic.write(order(2))
    async with running(a_trigger(world, topic, start="latest")):
        await world.until(lambda: numbers(world) == [2])


@pytest.mark.kafka
async def test_records_that_were_deleted_before_they_were_read_are_named(
    world: World, topic: Topic, caplog: pytest.LogCaptureFixture
) -> None:
    await topic.write(order(0))
    async with running(a_trigger(world, topic)):
        await world.until(lambda: numbers(world) == [0])
    await topic.write(*(order(n) for n in range(1, 10)))
    await topic.delete_before(0, 6)

    with caplog.at_level(logging.ERROR, logger="control_plane"):
        async with running(a_trigger(world, topic)):
            await world.until(lambda: numbers(world) == [0, 6, 7, 8, 9])

    [said] = [
        found for found in caplog.records if found.name.startswith("control_plane") and found.levelname == "ERROR"
    ]
    assert said.getMessage() == "records of a foreign topic were deleted before they were read"
    assert (vars(said)["wanted_offset"], vars(said)["oldest_offset"]) == (1, 6)


class Tries(VirtualClock):
    """A clock that lets nobody wait, and tells when somebody has waited so often."""

    def __init__(self, wanted: int) -> None:
        super().__init__()
        self._left = wanted
        self.enough = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        self._left -= 1
        if self._left <= 0:
            self.enough.set()
        await asyncio.sleep(0)


async def test_a_kafka_that_is_not_there_is_said_once_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    clock = Tries(3)
    world = World(clock=clock)

    with caplog.at_level(logging.WARNING, logger="control_plane"):
        async with running(a_trigger(world, Topic("127.0.0.2:1"))) as task, asyncio.timeout(PATIENCE_S):
            await clock.enough.wait()
            assert not task.done()

    said = [record.getMessage() for record in caplog.records if record.name.startswith("control_plane")]
    assert said == ["a foreign Kafka is away"]


async def test_a_topic_that_was_made_anew_brings_new_events() -> None:
    """Its offsets begin at 0 again: the time of a record tells the two apart."""
    world = World()
    trigger = a_trigger(world, Topic("127.0.0.2:1"))
    assert isinstance(trigger, KafkaTrigger)

    def records(timestamp_ms: int) -> Sequence[Taken]:
        return [Taken(partition=0, offset=0, timestamp_ms=timestamp_ms, key=None, value=order(1), headers=())]

    for timestamp_ms in (1, 1, 2):
        await trigger.publish(records(timestamp_ms))

    assert len(set(world.ids)) == 2


@pytest.mark.parametrize("key", ["ca_file", "cert_file"])
def test_a_certificate_that_is_not_there_is_said_before_anything_is_read(tmp_path: Path, key: str) -> None:
    with pytest.raises(InvalidWorkspace, match=r"trigger orders: its certificates cannot be used: .*No such file"):
        a_trigger(World(root=tmp_path), Topic("127.0.0.2:1"), security={"protocol": "SSL", key: "gone.pem"})


def test_a_key_without_a_certificate_is_refused() -> None:
    keys = {"servers": ["a:1"], "topic": "orders", "event": EVENT, "security": {"protocol": "SSL", "key_file": "k.pem"}}

    examined = examine_kafka(msgspec.convert(keys, KafkaKeys))

    assert [(found.path, found.cure) for found in examined.problems] == [(("security", "key_file"), "Add cert_file.")]


def test_a_password_that_is_not_there_is_named(tmp_path: Path) -> None:
    security = {"username_env": "KAFKA_USER", "password_env": "KAFKA_PASSWORD"}

    with pytest.raises(Exception, match="KAFKA_USER is not set"):
        a_trigger(World(root=tmp_path), Topic("127.0.0.2:1"), security=security)
