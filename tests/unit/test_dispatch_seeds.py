"""Seeded runs: targets that misbehave, repeated deliveries, a ledger and a log that fail, a process that keeps dying.

The judge looks at the targets' own counts and at what was published. It does not ask dispatch.
"""

import asyncio
import os
import random
from pathlib import Path

import pytest

from control_plane.adapters.sql.database import Unreachable
from control_plane.errors import BackboneUnavailable, LedgerUnavailable
from control_plane.messages import Command
from control_plane.messages.wire import encode
from control_plane.ports.executor import Attempt, Found
from tests.unit.dispatch_world import Killed, World, command

SEEDS = int(os.environ.get("SETPOINT_TEST_SEEDS", "12"))
POINTS = ["ledger.taken", "command.begun", "command.acted", "outcome.written", "outcome.published"]
COMMANDS = 24
LIVES_MAX = 6


class Chance:
    """What goes wrong in one run."""

    def __init__(self, seed: int, world: World) -> None:
        self._random = random.Random(seed)
        self._world = world
        self.commands = [
            command(f"c{n}", f"service/{self._random.randrange(6)}", idempotent=self._random.random() < 0.2)
            for n in range(COMMANDS)
        ]

    async def behave(self, given: Command) -> Attempt:
        """Before the effect or after it, something happens."""
        target = self._world.target
        if self._random.random() < 0.3:
            await asyncio.sleep(self._random.random() / 500)
        match self._random.randrange(8):
            case 0:
                return Attempt(result="nothing_done", detail="connection refused")
            case 1:
                return Attempt(result="unknown", detail="lost on the way there")
            case 2:
                target.act(given)
                return Attempt(result="unknown", detail="lost on the way back")
            case 3:
                target.act(given)
                raise RuntimeError("a bug after the effect")
            case 4:
                await asyncio.Event().wait()
        target.act(given)
        return Attempt(result="succeeded", detail="done")

    def fault(self) -> tuple[str, int]:
        """Where the process dies next."""
        return self._random.choice(POINTS), self._random.randrange(1, 6)

    def trouble_ledger(self) -> None:
        """Some of the ledger's answers are lost, some calls never arrive."""
        dispatch = self._world.dispatch
        assert dispatch is not None
        database = self._world.database
        assert database is not None
        write = database.write

        async def unreliable(work):
            luck = self._random.random()
            if luck < 0.05:
                raise Unreachable("never arrived")
            answer = await write(work)
            if luck > 0.95:
                raise Unreachable("the answer was lost")
            return answer

        dispatch._ledger._database = _Through(database, unreliable)

    def deliveries(self) -> list[list[Command]]:
        """All commands in order from somewhere on, in batches: after a crash the log goes back."""
        start = self._random.randrange(COMMANDS)
        batches = []
        while start < COMMANDS:
            size = self._random.randrange(1, 8)
            batches.append(self.commands[start : start + size])
            start += size
        return batches


class _Through:
    """A database whose writes go through something else."""

    def __init__(self, database, write) -> None:
        self.fragments = database.fragments
        self.write = write


async def live_once(world: World, chance: Chance, last: bool) -> None:
    world.fault = ("", 0) if last else chance.fault()
    await world.up()
    if not last:
        chance.trouble_ledger()
        world.publish_fails = [BackboneUnavailable("no broker")]
    try:
        for batch in [chance.commands] if last else chance.deliveries():
            await world.as_time_passes(deliver(world, batch), step_ms=200)
        if not last:
            dying = asyncio.ensure_future(world.died())
            await asyncio.wait({dying}, timeout=0.2)
            dying.cancel()
    except Killed:
        pass
    if not last:
        await world.kill()


async def deliver(world: World, batch: list[Command]) -> None:
    """As a backbone does: until it is taken."""
    while True:
        try:
            return await world.deliver(*batch)
        except LedgerUnavailable:
            await asyncio.sleep(0)


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_whatever_goes_wrong_each_command_is_done_at_most_once_and_told_exactly(
    seed: int, tmp_path: Path
) -> None:
    judge(*await run(seed, World(tmp_path)))


async def test_the_judge_sees_what_an_executor_does_twice_that_looks_away(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.target.found = Found(state="absent", detail="I did not look")

    with pytest.raises(AssertionError, match=r"was done [2-9] times"):
        judge(*await run(1, world))


async def run(seed: int, world: World) -> tuple[World, Chance]:
    """Several lives that end badly, and a last one that may finish."""
    world.target.attempt_timeout_s = 0.03
    world.target.settle_s = 0.5
    world.target.attempts_max = 6
    chance = Chance(seed, world)
    world.target.behave = chance.behave
    for _ in range(random.Random(seed).randrange(1, LIVES_MAX)):
        await live_once(world, chance, last=False)
    await live_once(world, chance, last=True)
    await world.as_time_passes(all_told(world), step_ms=200)
    await world.down()
    return world, chance


async def all_told(world: World) -> None:
    """Wait until every command has an outcome."""
    while len({outcome.command_id for outcome in world.outcomes}) < COMMANDS:
        await world.published(len(world.outcomes) + 1)


def judge(world: World, chance: Chance) -> None:
    """Every violation, not only the first."""
    told: dict[str, set[bytes]] = {}
    statuses: dict[str, str] = {}
    for outcome in world.outcomes:
        told.setdefault(outcome.command_id, set()).add(encode(outcome))
        statuses[outcome.command_id] = outcome.status
    violations = [f"{command_id} has outcomes that differ" for command_id, copies in told.items() if len(copies) > 1]
    for given in chance.commands:
        command_id = given.lineage.message_id
        effects, status = world.target.effects[command_id], statuses[command_id]
        if (effects > 1 and not given.idempotent) or (effects > 0) != (status == "succeeded"):
            violations.append(f"{command_id} is {status} and was done {effects} times")
    assert not violations, "; ".join(violations)
