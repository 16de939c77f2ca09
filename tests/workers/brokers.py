"""What tests change about a real Kafka from outside: settings of topics, and topics themselves."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

DELETED_WITHIN_S = 20
KNOWN_WITHIN_S = 20


@asynccontextmanager
async def admin_of(servers: str, **options: Any) -> AsyncIterator[AIOKafkaAdminClient]:
    """An admin client, as any operator has one."""
    admin = AIOKafkaAdminClient(bootstrap_servers=servers, **options)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


async def set_topic(servers: str, topic: str, settings: Mapping[str, str]) -> None:
    """Give a topic these settings of its own, and no others; returns once whoever asks is told them."""
    resource = ConfigResource(ConfigResourceType.TOPIC, topic, dict(settings))
    async with admin_of(servers) as admin, asyncio.timeout(KNOWN_WITHIN_S):
        [answer] = await admin.alter_configs([resource])
        assert all(code == 0 for code, *_ in answer.resources), answer
        while await _settings(admin, resource) != settings:  # noqa: ASYNC110 - a broker tells nobody
            await asyncio.sleep(0.01)


async def _settings(admin: AIOKafkaAdminClient, resource: ConfigResource) -> dict[str, str]:
    [answer] = await admin.describe_configs([resource])
    [(_code, _message, _type, _name, entries)] = answer.resources
    return {entry[0]: entry[1] for entry in entries}


async def delete_topics(servers: str, prefix: str, **options: Any) -> None:
    """Leave a shared Kafka as it was."""
    async with admin_of(servers, **options) as admin, asyncio.timeout(DELETED_WITHIN_S):
        while mine := [topic for topic in await admin.list_topics() if topic.startswith(prefix)]:
            await admin.delete_topics(mine)
