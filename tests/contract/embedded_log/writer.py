"""A process that writes into a log and says on its standard output what was acknowledged, until it is killed.

Run as `python -m tests.contract.embedded_log.writer PATH DURABILITY`. Each line is the offset after the last
acknowledged record; each write holds `RECORDS_PER_WRITE` records, the offset committed behind them, and one row of a
compacted topic. Maintenance runs all along.
"""

import asyncio
import sys
from pathlib import Path

from control_plane.adapters.embedded_log import Append, Durability, EmbeddedLog, GroupOffset

TOPIC = "events.v1"
ROWS = "rows"
RECORDS_PER_WRITE = 7
ROW_KEYS = 5
WRITES_PER_MAINTENANCE = 10


def value_at(offset: int) -> bytes:
    """What stands at an offset: different for each, and not to be compressed away."""
    return b"value %d " % offset + (offset * 2654435761 % 2**64).to_bytes(8, "big") * 20


async def write_for_ever(path: Path, durability: Durability) -> None:
    """Write, wait until durable, acknowledge; and again."""
    log = EmbeddedLog.open(path, durability=durability)
    log.create_topic(TOPIC, partitions=1)
    log.create_topic(ROWS, partitions=1, compacted=True)
    while True:
        _, start = log.bounds(TOPIC, 0)
        offsets = range(start, start + RECORDS_PER_WRITE)
        row = Append(ROWS, 0, b"row %d" % (start // RECORDS_PER_WRITE % ROW_KEYS), b"%d" % offsets.stop)
        log.write(
            [*(Append(TOPIC, 0, b"key %d" % offset, value_at(offset)) for offset in offsets), row],
            [GroupOffset("group", TOPIC, 0, offsets.stop, b"mark %d" % offsets.stop)],
        )
        await log.durable()
        if start // RECORDS_PER_WRITE % WRITES_PER_MAINTENANCE == 0:
            log.maintain(dirty_records_min=1)
        sys.stdout.write(f"{offsets.stop}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    mode: Durability = "fsync" if sys.argv[2] == "fsync" else "flush"
    asyncio.run(write_for_ever(Path(sys.argv[1]), mode))
