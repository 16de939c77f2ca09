"""What a stranger sees beside the loop's records: committed offsets, the rows' changelog, the audit's tables."""

import asyncio
import sqlite3
from contextlib import closing
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient

from control_plane.adapters.faust.kafka_address import KafkaAddress
from control_plane.adapters.faust.own_rows import CHANGELOG_KEYS
from control_plane.adapters.faust.topics import APP_ID, Names
from control_plane.messages import topics
from control_plane.ports.backbone import LOOP_GROUP
from control_plane.ports.log_reader import LogReader
from control_plane.replay import state_hash
from tests.databases import server
from tests.kill.history import Findings


def check_outside(reader: LogReader, store: str) -> Findings:
    """Everything on `events.v1` was taken, and everything on the log was recorded, once.

    A log whose timers still tick goes on growing while it is read: what stood on it before the store was read must be
    in the store, and what is in the store must stand on it after.
    """
    findings = Findings()
    ends = {
        (topic, n): reader.bounds(topic, n)[1]
        for topic in topics.KEYED_BY_SUBJECT
        for n in range(reader.partitions(topic))
    }
    partitions = range(reader.partitions(topics.EVENTS))
    committed = {n: reader.committed_offset(LOOP_GROUP, topics.EVENTS, n) or 0 for n in partitions}
    behind = [
        f"partition {n}: {committed[n]} of {end}" for n in partitions if committed[n] < (end := ends[topics.EVENTS, n])
    ]
    findings.wrong("I1", "partitions whose committed offset is not their end", behind)
    recorded, copies = recorded_messages(store)
    on_log = {
        (topic, partition, record.offset): record.value
        for topic, partition in ends
        for record in reader.read(topic, partition)
    }
    findings.counts["recorded"] = len(recorded)
    stood = {place for place in on_log if place[2] < ends[place[0], place[1]]}
    findings.wrong("I6", "records that the audit store does not hold", stood - recorded.keys() - copies)
    findings.wrong("I6", "records that only the audit store holds", (recorded.keys() | copies) - on_log.keys())
    other = [place for place, body in recorded.items() if on_log.get(place, body) != body]
    findings.wrong("I6", "records that the audit store holds otherwise", other)
    return findings


def live_state(reader: LogReader) -> str:
    """The hash of the live rows: the newest record of each key on their changelog."""
    partitions = reader.partitions(topics.EVENTS)
    changelog = Names(prefix="", app_id=APP_ID, partitions=partitions).changelog
    rows = {(n, record.key): record.value for n in range(partitions) for record in reader.read(changelog, n)}
    return state_hash((n, key, value) for (n, key), value in rows.items() if value and key not in CHANGELOG_KEYS)


def recorded_messages(store: str) -> tuple[dict[tuple[str, int, int], bytes], set[tuple[str, int, int]]]:
    """Bodies of the audit store by position, and the positions of further copies."""
    kept, copied = _rows_of(store)
    return {(topic, partition, offset): body for topic, partition, offset, body in kept}, {tuple(row) for row in copied}


def _rows_of(store: str) -> list[list[Any]]:
    queries = (
        "SELECT topic, log_partition, log_offset, body FROM messages",
        "SELECT topic, log_partition, log_offset FROM message_copies",
    )
    if store.startswith("postgresql"):
        return asyncio.run(asked_of_postgres(store, *queries))
    file = store.partition(":///")[2]
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
        return [database.execute(query).fetchall() for query in queries]


async def asked_of_postgres(url: str, *queries: str) -> list[list[Any]]:
    """The rows of each query, over a connection of our own."""
    async with server(url) as connection:
        return [list(await connection.fetch(query)) for query in queries]


def leave_kafka_as_it_was(url: str) -> None:
    """Delete the topics of one log, named by its prefix."""
    address = KafkaAddress.parse(url)
    assert address.prefix, "without a prefix every topic would go"
    asyncio.run(_delete_topics(address))


async def _delete_topics(address: KafkaAddress) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=list(address.servers))
    await admin.start()
    try:
        await admin.delete_topics([topic for topic in await admin.list_topics() if topic.startswith(address.prefix)])
    finally:
        await admin.close()
