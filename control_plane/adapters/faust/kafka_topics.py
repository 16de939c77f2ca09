"""Topics on Kafka: those that are missing are created, those that are there must fit. Runs before any app starts."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from control_plane.adapters.faust.kafka_address import KafkaAddress
from control_plane.adapters.faust.topic_settings import ASKED_FOR, FoundTopic, TopicFinding, judge, settings_for
from control_plane.adapters.faust.topics import TopicPlan, other_partition_count
from control_plane.adapters.faust.unreachable import why_unreachable
from control_plane.errors import InvalidSettings

CONNECT_TIMEOUT_S = 4.0
CREATE_TIMEOUT_S = 15.0
KNOWN_PAUSE_S = 0.02


async def prepare_topics(address: KafkaAddress, plan: Sequence[TopicPlan]) -> tuple[TopicFinding, ...]:
    """Have every topic there. What is merely unusual about them is given; raises InvalidSettings where one would make
    the loop wrong, and BackboneUnavailable."""
    wanted = {topic.name: topic for topic in plan}
    async with connected_admin(address, request_timeout_ms=int(CREATE_TIMEOUT_S * 1000)) as admin:
        found = await partition_counts(admin, wanted)
        _must_fit(found, wanted)
        missing = [topic for name, topic in wanted.items() if name not in found]
        if missing:
            await _create(admin, missing, address.replication)
            await _until_known(admin, wanted)
        # Those that were just made are looked at as well: a broker may have settings that win over ours.
        findings = await _findings(admin, wanted, address)
    check_none_refused(findings)
    return findings


async def look_at_topics(address: KafkaAddress, plan: Sequence[TopicPlan]) -> tuple[TopicFinding, ...]:
    """What is wrong with the topics that are there, and what is unusual; changes nothing. Raises BackboneUnavailable,
    InvalidSettings when Kafka does not let us in."""
    async with connected_admin(address) as admin:
        return await _findings(admin, {topic.name: topic for topic in plan}, address)


def check_none_refused(findings: Sequence[TopicFinding]) -> None:
    """Raises InvalidSettings with every finding that makes the loop wrong, and its cure."""
    refused = [finding for finding in findings if finding.refused]
    if refused:
        told = "\n".join(f"{finding}. Mend it: {finding.cure}" for finding in refused)
        raise InvalidSettings(f"Nothing is done on a log whose topics are set wrong.\n{told}")


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


async def _findings(
    admin: AIOKafkaAdminClient, wanted: Mapping[str, TopicPlan], address: KafkaAddress
) -> tuple[TopicFinding, ...]:
    found = await _found_topics(admin, wanted)
    return tuple(finding for one in found for finding in judge(wanted[one.name], one, address.servers))


async def _found_topics(admin: AIOKafkaAdminClient, topics: Iterable[str]) -> list[FoundTopic]:
    """Those of the topics that are there, with their settings as far as this user may see them."""
    described = [one for one in await admin.describe_topics(list(topics)) if one["error_code"] == 0]
    if not described:
        return []
    asked = dict.fromkeys(ASKED_FOR)
    resources = [ConfigResource(ConfigResourceType.TOPIC, one["topic"], asked) for one in described]
    settings: dict[str, dict[str, str]] = {}
    for answer in await admin.describe_configs(resources):
        for error_code, _message, _type, name, entries in answer.resources:
            settings[name] = {} if error_code else {entry[0]: entry[1] for entry in entries if entry[1] is not None}
    return [
        FoundTopic(
            name=one["topic"],
            partitions=len(one["partitions"]),
            replicas=min(len(partition["replicas"]) for partition in one["partitions"]),
            settings=settings.get(one["topic"], {}),
        )
        for one in described
    ]


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
    configs = settings_for(topic, replication)
    return NewTopic(topic.name, topic.partitions, replication, places, topic_configs=configs)


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
