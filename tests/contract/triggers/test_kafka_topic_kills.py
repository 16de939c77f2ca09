"""A real service with a trigger on a real Kafka, killed again and again: no record is lost, and none has two ids."""

import asyncio
import time
import uuid
from collections import Counter
from pathlib import Path

import httpx
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from tests.unit.cli_world import setpoint
from tests.unit.killed_world import PATIENCE_S, listed, up

KILLS = 2
RECORDS = 200
"""Written before each life, and again in it."""
TRIGGER = """\
trigger: orders
kind: kafka
servers: ["{address}"]
topic: {topic}
group: g-{topic}
event: {{type: order.placed, subject: '"order/" + string(item.n % 7)'}}
"""


class Shop:
    """Another system: it writes numbers, one after the other, to its own topic."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.topic = f"killed-{uuid.uuid4().hex[:10]}"
        self.written = 0

    async def open(self) -> None:
        await self._administer("create")

    async def close(self) -> None:
        await self._administer("delete")

    async def write(self, count: int) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=self.address)
        await producer.start()
        try:
            for n in range(self.written, self.written + count):
                await producer.send(self.topic, b'{"n": %d}' % n, partition=n % 2)
            await producer.flush()
        finally:
            await producer.stop()
        self.written += count

    async def _administer(self, what: str) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.address)
        await admin.start()
        try:
            if what == "create":
                await admin.create_topics([NewTopic(self.topic, 2, 1)])
            else:
                await admin.delete_topics([self.topic])
        finally:
            await admin.close()


def until(client: httpx.Client, wanted: int) -> list[int]:
    """The numbers that came, once there are so many; a number that has two ids is there twice."""
    ends = time.monotonic() + PATIENCE_S
    while len(found := listed(client, "order.placed")) < wanted:
        assert time.monotonic() < ends, f"{len(found)} of {wanted}"
        time.sleep(0.1)
    return [event["data"]["n"] for event in found]


@pytest.mark.kafka
@pytest.mark.kills
@pytest.mark.timeout(300)
def test_kills_neither_lose_a_record_of_a_topic_nor_give_one_two_ids(kafka_address: str, tmp_path: Path) -> None:
    shop = Shop(kafka_address)
    (tmp_path / "rows").mkdir()
    (tmp_path / "triggers").mkdir()
    (tmp_path / "setpoint.yaml").write_text("apiVersion: setpoint/v1\n")
    row = "row: orders\non: [order.placed]\nfields: {n: {count: {window: 1h}}}\n"
    (tmp_path / "rows/orders.yaml").write_text(row)
    (tmp_path / "triggers/orders.yaml").write_text(TRIGGER.format(address=kafka_address, topic=shop.topic))
    asyncio.run(shop.open())
    try:
        for _ in range(KILLS):
            asyncio.run(shop.write(RECORDS))
            with up(tmp_path) as client:
                asyncio.run(shop.write(RECORDS))
                until(client, shop.written - RECORDS)  # Somewhere in the second half the kill comes.
        with up(tmp_path) as client:
            numbers = until(client, shop.written)
    finally:
        asyncio.run(shop.close())

    assert sorted(numbers) == list(range(shop.written)), Counter(numbers).most_common(3)
    equal = setpoint("replay", "--data", str(tmp_path / "data"))
    assert (equal.exit_code, equal.stdout.splitlines()[-1]) == (0, "equal")
