"""Topics on Kafka: those that are missing are created, those that are there must fit. Runs before any app starts."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from control_plane.adapters.faust.kafka_address import KafkaAddress
from control_plane.adapters.faust.pinned import REQUEST_BYTES_MAX
from control_plane.adapters.faust.topics import TopicPlan, other_partition_count
from control_plane.adapters.faust.unreachable import why_unreachable
from control_plane.errors import InvalidSettings

CONNECT_TIMEOUT_S = 4.0
CREATE_TIMEOUT_S = 15.0
KNOWN_PAUSE_S = 0.02
KEPT_FOR_EVER = "-1"


async def create_missing(address: KafkaAddress, plan: Iterable[TopicPlan]) -> None:
    """Raises BackboneUnavailable, InvalidSettings."""
    wanted = {topic.name: topic for topic in plan}
    async with connected_admin(address, request_timeout_ms=int(CREATE_TIMEOUT_S * 1000)) as admin:
        found = await partition_counts(admin, wanted)
        _must_fit(found, wanted)
        missing = [topic for name, topic in wanted.items() if name not in found]
        if missing:
            await _create(admin, missing, address.replication)
            await _until_known(admin, wanted)


@asynccontextmanager
async def connected_admin(address: KafkaAddress, **options: Any) -> AsyncIterator[AIOKafkaAdminClient]:
    """Raises BackboneUnavailable or InvalidSettings within seconds."""
    admin = AIOKafkaAdminClient(**address.client_options(), **options)
    try:
        await _connect(admin, address)
        yield admin
    finally:
        await admin.close()


async def _connect(admin: AIOKafkaAdminClient, address: KafkaAddress) -> None:
    try:
        await asyncio.wait_for(admin.start(), CONNECT_TIMEOUT_S)
    except (KafkaError, TimeoutError, OSError) as error:
        raise await why_unreachable(address) from error


async def partition_counts(admin: AIOKafkaAdminClient, topics: Iterable[str] | None) -> dict[str, int]:
    """Of these topics as far as they are there; of all without."""
    described = await admin.describe_topics(None if topics is None else list(topics))
    return {topic["topic"]: len(topic["partitions"]) for topic in described if topic["error_code"] == 0}


def _must_fit(found: dict[str, int], wanted: dict[str, TopicPlan]) -> None:
    for name, partitions in found.items():
        if partitions != wanted[name].partitions:
            raise other_partition_count(name, found=partitions, wanted=wanted[name].partitions)


async def _create(admin: AIOKafkaAdminClient, missing: Sequence[TopicPlan], replication: int) -> None:
    answer = await admin.create_topics(
        [_new_topic(topic, replication) for topic in missing],
        timeout_ms=int(CREATE_TIMEOUT_S * 1000),
    )
    for name, code, *reason in answer.topic_errors:
        error = for_code(code)
        # Another process of ours was quicker.
        if code != 0 and error is not TopicAlreadyExistsError:
            raise InvalidSettings(
                f"Kafka refused to create topic {name}: {_text(error, reason)}. Nothing was started. Check the "
                "replication factor and this user's rights."
            )


def _new_topic(topic: TopicPlan, replication: int) -> NewTopic:
    # With -1 the broker's default counts; aiokafka then wants the replicas' places, of which there may be none.
    places: dict[int, list[int]] | None = {} if replication == -1 else None
    return NewTopic(topic.name, topic.partitions, replication, places, topic_configs=_configs(topic))


def _configs(topic: TopicPlan) -> dict[str, str]:
    # The append time is the only clock that the loop knows.
    configs = {
        "message.timestamp.type": "LogAppendTime",
        "retention.ms": KEPT_FOR_EVER,
        "retention.bytes": KEPT_FOR_EVER,
        "max.message.bytes": str(REQUEST_BYTES_MAX),
    }
    return configs | {"cleanup.policy": "compact" if topic.compacted else "delete"}


async def _until_known(admin: AIOKafkaAdminClient, wanted: dict[str, TopicPlan]) -> None:
    """A created topic is known to every broker a moment later; a client that subscribes before would not see it."""
    async with asyncio.timeout(CREATE_TIMEOUT_S):
        found: dict[str, int] = {}
        while len(found) < len(wanted):
            await asyncio.sleep(KNOWN_PAUSE_S)
            found = await partition_counts(admin, wanted)
    _must_fit(found, wanted)


def _text(error: Any, reason: Sequence[Any]) -> str:
    return str(reason[0]) if reason and reason[0] else str(error.__name__)
