"""A broker dies and comes back; the worker goes on by itself, without loss."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.contract.backbone.killing import REPOSITORY
from tests.contract.backbone.owners import CountingOwner
from tests.contract.backbone.test_rebalance import outputs_are_complete
from tests.contract.backbone.world import World, events
from tests.real_parts import free_port

PROGRAM = REPOSITORY / "services" / "kafka.py"
COMMAND_TIMEOUT_S = 60


class OwnBroker:
    """A broker for one test, which may kill it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.port = free_port()

    async def run(self, command: str) -> None:
        options = ["--port", str(self.port)] if command == "start" else []
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, str(PROGRAM), command, str(self._path), *options],
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
        )
        assert done.returncode == 0, done.stderr


@pytest.fixture
async def own_broker(tmp_path: Path) -> AsyncIterator[OwnBroker]:
    broker = OwnBroker(tmp_path / "kafka")
    await broker.run("start")
    yield broker
    await broker.run("kill")


@pytest.mark.kafka
@pytest.mark.kills
async def test_a_killed_broker_that_comes_back_is_gone_on_with(own_broker: OwnBroker, tmp_path: Path) -> None:
    world = World(kind="kafka", url=f"kafka://127.0.0.1:{own_broker.port}", path=tmp_path)
    owner = CountingOwner()
    async with world.running(owner) as backbone:
        await backbone.append(events(500))
        await owner.until(lambda: bool(owner.taken))

        await own_broker.run("kill")
        await own_broker.run("start")

        await backbone.append(events(500, first=500))
        await owner.until(lambda: sum(owner.counts().values()) >= 1_000, timeout_s=60.0)
        await owner.until(lambda: len(owner.committed_batches) == len(owner.batches))
        await outputs_are_complete(world)
