"""A worker process that tests may kill:
`python -m tests.contract.backbone.worker KIND URL PATH PREFIX ROUNDS FILE_BYTES_MAX`.

It owns the loop group and counts, appends so many rounds of events and says each, and runs until it is killed. With
FILE_BYTES_MAX no file may grow beyond it, as on a full disk; it then ends with STORAGE_FULL. While there is a file
`PATH/hold` it keeps the batch that is in its hands. Shut out by a newer owner it ends with FENCED.
"""

import asyncio
import resource
import sys
from collections.abc import Sequence
from pathlib import Path

from control_plane.errors import OwnerFenced, StorageFull
from control_plane.ports.backbone import Commit, Record
from tests.contract.backbone.owners import CountingOwner
from tests.contract.backbone.world import PARTITIONS, World, events

ROUND_EVENTS = 100
STORAGE_FULL = 28
FENCED = 29


class Holding(CountingOwner):
    """Counts, but keeps its batch while a file is there."""

    def __init__(self, hold: Path) -> None:
        super().__init__()
        self._hold = hold

    async def take(self, partition: int, records: Sequence[Record]) -> Commit:
        while self._hold.exists():  # noqa: ASYNC110 - whoever removes it is another process
            await asyncio.sleep(0.005)
        return await super().take(partition, records)


async def main(kind: str, url: str, path: str, prefix: str, rounds: str, file_bytes_max: str) -> None:
    owner = Holding(Path(path) / "hold")
    world = World(kind=kind, url=url, path=Path(path), prefix=prefix)
    async with world.running(owner) as backbone:
        await owner.until(lambda: len(owner.readers) == PARTITIONS)
        if int(file_bytes_max):
            resource.setrlimit(resource.RLIMIT_FSIZE, (int(file_bytes_max), int(file_bytes_max)))
        watch = asyncio.create_task(backbone.watch())
        for round_ in range(int(rounds)):
            if watch.done():
                break
            await backbone.append(events(ROUND_EVENTS, first=round_ * ROUND_EVENTS))
            sys.stdout.write(f"{round_}\n")
            sys.stdout.flush()
        await watch


if __name__ == "__main__":
    try:
        asyncio.run(main(*sys.argv[1:]))
    except StorageFull:
        sys.exit(STORAGE_FULL)
    except OwnerFenced as fenced:
        sys.stderr.write(f"{fenced}\n")
        sys.exit(FENCED)
