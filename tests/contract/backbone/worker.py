"""A worker process that tests may kill: `python -m tests.contract.backbone.worker KIND URL PATH PREFIX ROUNDS`.

It owns the loop group and counts, appends so many rounds of events and says each, and runs until it is killed.
"""

import asyncio
import sys
from pathlib import Path

from tests.contract.backbone.owners import CountingOwner
from tests.contract.backbone.world import PARTITIONS, World, events

ROUND_EVENTS = 100


async def main(kind: str, url: str, path: str, prefix: str, rounds: str) -> None:
    owner = CountingOwner()
    async with World(kind=kind, url=url, path=Path(path), prefix=prefix).running(owner) as backbone:
        await owner.until(lambda: len(owner.readers) == PARTITIONS)
        for round_ in range(int(rounds)):
            await backbone.append(events(ROUND_EVENTS, first=round_ * ROUND_EVENTS))
            sys.stdout.write(f"{round_}\n")
            sys.stdout.flush()
        await backbone.watch()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
