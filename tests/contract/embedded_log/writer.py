"""A process that writes into a log and says on its standard output what was acknowledged, until it is killed.

Run as `python -m tests.contract.embedded_log.writer PATH DURABILITY`. Each line is the offset after the last
acknowledged record; each write holds `RECORDS_PER_WRITE` records and the offset committed behind them.
"""

import asyncio
import sys
from pathlib import Path

from control_plane.adapters.embedded_log import Append, Durability, EmbeddedLog, GroupOffset

TOPIC = "events.v1"
RECORDS_PER_WRITE = 7


def value_at(offset: int) -> bytes:
    """What stands at an offset: different for each, and not to be compressed away."""
    return b"value %d " % offset + (offset * 2654435761 % 2**64).to_bytes(8, "big") * 20


async def write_for_ever(path: Path, durability: Durability) -> None:
    """Write, wait until durable, acknowledge; and again."""
    log = EmbeddedLog.open(path, durability=durability)
    log.create_topic(TOPIC, partitions=1)
    while True:
        _, start = log.bounds(TOPIC, 0)
        offsets = range(start, start + RECORDS_PER_WRITE)
        log.write(
            [Append(TOPIC, 0, b"key %d" % offset, value_at(offset)) for offset in offsets],
            [GroupOffset("group", TOPIC, 0, offsets.stop, b"mark %d" % offsets.stop)],
        )
        await log.durable()
        sys.stdout.write(f"{offsets.stop}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    mode: Durability = "fsync" if sys.argv[2] == "fsync" else "flush"
    asyncio.run(write_for_ever(Path(sys.argv[1]), mode))
