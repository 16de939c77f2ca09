"""Running a worker process and judging what its death left behind."""

import asyncio
import os
import signal
import sys
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from control_plane.adapters.faust.fault_points import VARIABLE
from control_plane.messages.topics import DECISIONS, EVENTS
from control_plane.ports.backbone import Record, RowReader, Start
from tests.contract.backbone.owners import CountingOwner, decode
from tests.contract.backbone.world import World

REPOSITORY = Path(__file__).resolve().parents[3]
DEATH_TIMEOUT_S = 40.0


class ShownOwner(CountingOwner):
    """Keeps what it was shown when it was assigned: (count, applied) of each key."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: dict[int, dict[bytes, tuple[int, int]]] = {}

    async def assigned(self, partition: int, rows: RowReader, start: Start) -> None:
        self.shown[partition] = {key: (decode(row).count, decode(row).applied) for key, row in rows.scan()}
        await super().assigned(partition, rows, start)


@asynccontextmanager
async def worker(
    world: World, *, fault: str = "", rounds: int = 0, file_bytes_max: int = 0
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A worker process on the world's log; killed at the end if it still runs."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.contract.backbone.worker",
        world.kind,
        world.url,
        str(world.path),
        world.prefix,
        str(rounds),
        str(file_bytes_max),
        cwd=REPOSITORY,
        env=os.environ | {VARIABLE: fault},
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def until_round(process: asyncio.subprocess.Process, round_: int) -> None:
    """Until the worker has said that it appended this round."""
    assert process.stdout is not None
    for wanted in range(round_ + 1):
        line = await asyncio.wait_for(process.stdout.readline(), DEATH_TIMEOUT_S)
        assert line == b"%d\n" % wanted, "the worker did not come so far"


async def until_killed(process: asyncio.subprocess.Process) -> None:
    code = await asyncio.wait_for(process.wait(), DEATH_TIMEOUT_S)
    assert code == -signal.SIGKILL, f"the worker ended with {code}, it should have been killed"


async def finish(world: World) -> ShownOwner:
    """Let another worker take what is left, and commit it all. That everything is counted says too little: rows are
    durable before what follows from them is out."""
    inputs = await world.read(EVENTS)
    last = {record.partition: record.offset for record in inputs}
    owner = ShownOwner()
    async with world.running(owner):
        await owner.until(
            lambda: all(owner.next_committed.get(partition, 0) > offset for partition, offset in last.items()),
            timeout_s=40.0,
        )
        assert sum(owner.counts().values()) == len(inputs), "something was counted twice"
    return owner


async def judge(world: World, owner: ShownOwner) -> None:
    """Nothing lost, nothing counted twice, copies equal, and rows whole when they were recovered."""
    inputs = by_partition(await world.read(EVENTS))
    outputs = by_partition(await world.read(DECISIONS))
    for partition, records in inputs.items():
        every_input_has_its_output(records, outputs.get(partition, []))
        rows_are_a_commits(owner.shown[partition], records, owner.starts[partition])


def by_partition(records: list[Record]) -> dict[int, list[Record]]:
    found: dict[int, list[Record]] = defaultdict(list)
    for record in records:
        found[record.partition].append(record)
    return found


def every_input_has_its_output(inputs: list[Record], outputs: list[Record]) -> None:
    counted: dict[bytes, int] = defaultdict(int)
    copies: dict[int, set[bytes]] = defaultdict(set)
    for output in outputs:
        copies[int(output.value.rsplit(b":", 1)[1])].add(output.value)
    for record in inputs:
        counted[record.key] += 1
        wanted = b"%s:%d:%d" % (record.key, counted[record.key], record.offset)
        assert copies[record.offset] == {wanted}, f"output of offset {record.offset}"


def rows_are_a_commits(shown: dict[bytes, tuple[int, int]], inputs: list[Record], start: Start) -> None:
    upto = max([start.next_offset, *(applied + 1 for _, applied in shown.values())])
    fold: dict[bytes, tuple[int, int]] = {}
    for record in [record for record in inputs if record.offset < upto]:
        fold[record.key] = (fold.get(record.key, (0, 0))[0] + 1, record.offset)
    assert shown == fold, f"rows as of offset {upto}, committed {start.next_offset}"
