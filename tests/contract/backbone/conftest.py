"""The three logs that the contract suite runs on."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.contract.backbone.world import World

LOGS = [
    pytest.param("kafka", marks=pytest.mark.kafka),
    pytest.param("embedded"),
    pytest.param("embedded-not-atomic"),
]


@pytest.fixture(params=LOGS)
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    """An empty log of each kind."""
    world = World(kind=request.param, url=_url(request, tmp_path), path=tmp_path)
    yield world
    await world.clean()


@pytest.fixture
async def kafka_world(kafka_address: str, tmp_path: Path) -> AsyncIterator[World]:
    """An empty log on Kafka only, for what has no meaning within one process."""
    world = World(kind="kafka", url=f"kafka://{kafka_address}", path=tmp_path)
    yield world
    await world.clean()


def _url(request: pytest.FixtureRequest, path: Path) -> str:
    if request.param == "kafka":
        return f"kafka://{request.getfixturevalue('kafka_address')}"
    atomic = "true" if request.param == "embedded" else "false"
    return f"embedded://{path / 'log'}?atomic={atomic}"
