"""One of several processes that share a ledger: every command is delivered to each of them, and each does what it may.

The world is a file: a line when an act begins and one when it is done, which is the effect. Run as
`python -m tests.contract.ledger.one_owner STORE WORLD`; it works until it is killed, or told to stop.
"""

import asyncio
import json
import os
import random
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from control_plane.adapters.sql import Database, SqlLedger
from control_plane.adapters.system import SystemClock
from control_plane.errors import InvalidMessage, LedgerUnavailable
from control_plane.executors.dispatch import Dispatch, DispatchBounds
from control_plane.messages import Command, Outcome, topics
from control_plane.messages.wire import encode
from control_plane.ports.backbone import EPOCH_HEADER, Record
from control_plane.ports.executor import Attempt, Found
from tests.contract.ledger.commands import a_command

COMMANDS = 600
SUBJECTS = 30
BATCH = 20
LEASE_S = 6.0
ACT_S_MAX = 0.04
NEVER_MS = 10**15


def commands() -> list[Command]:
    """The same for every process: one after the other on each subject. From the middle on a new owner sends them."""
    return [
        a_command(f"c{n}", f"service/{n % SUBJECTS}", executor="world", deadline_ms=NEVER_MS) for n in range(COMMANDS)
    ]


def stale_commands() -> list[Command]:
    """What an owner of the partition sent that was thrown out long ago: nobody may do it."""
    return [a_command(f"stale{n}", f"service/{n}", executor="world", deadline_ms=NEVER_MS) for n in range(SUBJECTS)]


class WorldFile:
    """What was done, by whoever: lines that are appended whole."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def add(self, **line: Any) -> None:
        """Append a line."""
        os.write(self._file, json.dumps({**line, "by": os.getpid()}).encode() + b"\n")

    def lines(self) -> list[dict[str, Any]]:
        """All of them, in order."""
        return [json.loads(line) for line in self._path.read_bytes().splitlines()]


class WorldExecutor:
    """Acts slowly enough to be killed in the middle."""

    name = "world"
    attempt_timeout_s = 2.0
    settle_s = 0.1
    attempts_max = 10
    backoff_s = 0.1
    concurrency_max = 64

    def __init__(self, world: WorldFile) -> None:
        self._world = world

    async def start(self) -> None:
        """Nothing to open."""

    async def stop(self) -> None:
        """Nothing to close."""

    async def execute(self, command: Command) -> Attempt:
        self._world.add(what="begun", id=command.lineage.message_id, subject=command.subject)
        await asyncio.sleep(random.uniform(0.0, ACT_S_MAX))
        self._world.add(what="done", id=command.lineage.message_id, subject=command.subject)
        return Attempt(result="succeeded")

    async def reconcile(self, command: Command) -> Found:
        command_id = command.lineage.message_id
        done = any(line["what"] == "done" and line["id"] == command_id for line in self._world.lines())
        return Found(state="done" if done else "absent")


async def main(store: str, world: WorldFile) -> None:
    """Take all that there is, and act until the end."""
    told_to_stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told_to_stop.set)
    world.add(what="listening", id=os.getpid())
    database = await Database.open(store)

    async def publish(outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            world.add(what="published", id=outcome.command_id, status=outcome.status)

    dispatch = Dispatch(
        ledger=SqlLedger(database, lease_s=LEASE_S),
        executors={"world": WorldExecutor(world)},
        clock=SystemClock(),
        publish=publish,
        dead_letter=_no_dead_letter,
        bounds=DispatchBounds(sweep_s=0.5, begun_age_s_max=1.0),
    )
    await dispatch.start()
    everything = [_record(n, command, epoch=1 + n * 2 // COMMANDS) for n, command in enumerate(commands())]
    for n in range(0, COMMANDS, BATCH):
        await _taken(dispatch, everything[n : n + BATCH])
    await _taken(dispatch, [_record(COMMANDS + n, command, epoch=1) for n, command in enumerate(stale_commands())])
    await told_to_stop.wait()
    await dispatch.stop()
    await database.close()


async def _taken(dispatch: Dispatch, batch: Sequence[Record]) -> None:
    """As a group reader's lane does: what was not ready gets the batch again."""
    while True:
        try:
            return await dispatch.take(topics.COMMANDS, 0, batch)
        except LedgerUnavailable:
            await asyncio.sleep(0.1)


def _record(offset: int, command: Command, epoch: int) -> Record:
    return Record(
        topic=topics.COMMANDS,
        partition=0,
        offset=offset,
        key=b"",
        value=encode(command),
        recorded_ms=1_000_000,
        headers=((EPOCH_HEADER, str(epoch).encode()),),
    )


async def _no_dead_letter(_record: Record, reason: InvalidMessage) -> None:
    raise AssertionError(f"a command of ours cannot be read: {reason}")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], WorldFile(Path(sys.argv[2]))))
