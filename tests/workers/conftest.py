"""A place of its own on a real Kafka for each test."""

import uuid
from collections.abc import AsyncIterator

import pytest

from tests.workers.brokers import delete_topics


@pytest.fixture
async def prefix(kafka_address: str) -> AsyncIterator[str]:
    """What the names of this test's topics begin with."""
    name = f"w{uuid.uuid4().hex[:10]}-"
    yield name
    await delete_topics(kafka_address, name)


@pytest.fixture
def kafka_url(kafka_address: str, prefix: str) -> str:
    """The backbone's address of this test's own."""
    return f"kafka://{kafka_address}?prefix={prefix}"
