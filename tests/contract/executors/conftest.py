"""The grounds, each prepared and cleared."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.contract.executors.grounds import GROUNDS, CommandGround, Ground, HttpGround, ProcessGround


async def prepared(ground: Ground) -> AsyncIterator[Ground]:
    await ground.prepare()
    yield ground
    await ground.clear()


@pytest.fixture(params=sorted(GROUNDS))
async def ground(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Ground]:
    async for ready in prepared(GROUNDS[request.param](tmp_path)):
        yield ready


@pytest.fixture(params=sorted(kind for kind, ground in GROUNDS.items() if ground.acts))
async def acting_ground(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Ground]:
    async for ready in prepared(GROUNDS[request.param](tmp_path)):
        yield ready


@pytest.fixture
async def http(tmp_path: Path) -> AsyncIterator[HttpGround]:
    async for ready in prepared(HttpGround(tmp_path)):
        assert isinstance(ready, HttpGround)
        yield ready


@pytest.fixture
async def program(tmp_path: Path) -> AsyncIterator[CommandGround]:
    async for ready in prepared(CommandGround(tmp_path)):
        assert isinstance(ready, CommandGround)
        yield ready


@pytest.fixture
async def process(tmp_path: Path) -> AsyncIterator[ProcessGround]:
    async for ready in prepared(ProcessGround(tmp_path)):
        assert isinstance(ready, ProcessGround)
        yield ready
