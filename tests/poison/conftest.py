"""The logs that are poisoned."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.poison.house import House
from tests.poison.outside import leave_kafka_as_it_was

LOGS = [pytest.param("embedded"), pytest.param("kafka", marks=pytest.mark.kafka)]


@pytest.fixture(params=LOGS)
async def house(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[House]:
    kind: str = request.param
    house = House.on(kind, tmp_path, request.getfixturevalue("kafka_address") if kind == "kafka" else "")
    yield house
    if house.is_kafka:
        await leave_kafka_as_it_was(house.url)
