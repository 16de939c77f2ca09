"""`kill -9` with many subjects on Kafka, ours and stock Faust: how soon the next event is answered, and how soon when
the tables must be made again from the changelog.

Run as `python -m tests.bench.failover WHO BACKBONE SUBJECTS`, where WHO is `stock` or `ours`. Prints JSON, seconds from
the start of the process to the answer. The event waits in the topic before the process starts.
"""

import asyncio
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.load import events
from tests.bench.outside import Place, read_until, reading, start, until_ready, writing

ANSWERED_WITHIN_S = 240.0
PROBES = 64
"""Deciding events behind the load, spread over all partitions: once they are answered, all before them is folded."""


async def measure(who: str, backbone: str, subjects: int) -> dict[str, float]:
    """Fill, kill, start again; stop, take the tables away, start again."""
    place = Place.of(backbone)
    with tempfile.TemporaryDirectory(prefix="failover-bench-") as folder:
        served = start(who, place, folder)
        await until_ready(served)
        await _fill(who, place, subjects)
        served.kill()
        served.wait()
        killed_s = await _answered(who, place, folder, subjects + 1)
        for tables in Path(folder).rglob("tables"):
            shutil.rmtree(tables)
        rebuilt_s = await _answered(who, place, folder, subjects + 2)
    return {"subjects": subjects, "after_kill_s": killed_s, "after_rebuild_s": rebuilt_s}


async def _fill(who: str, place: Place, subjects: int) -> None:
    # Stock Faust answers every event, ours only those that decide: those of the probes.
    now_ms = time.time_ns() // 1_000_000
    quiet = events(subjects, 0.0, now_ms, subjects=subjects)
    async with writing(place) as producer, reading(place) as consumer:
        for output in quiet:
            await producer.send(place.events, output.value, key=output.key)
        for output in events(PROBES, 1.0, now_ms, first=subjects * 2):
            await producer.send(place.events, output.value, key=output.key)
        async with asyncio.timeout(ANSWERED_WITHIN_S):
            await read_until(consumer, {}, PROBES + (subjects if who == "stock" else 0))


async def _answered(who: str, place: Place, folder: str, number: int) -> float:
    first = 10 * number + 10_000_000
    probe = events(1, 1.0, time.time_ns() // 1_000_000, first=first)[0]
    async with writing(place) as producer, reading(place) as consumer:
        await consumer.seek_to_end()
        await asyncio.gather(*[consumer.position(tp) for tp in consumer.assignment()])
        await (await producer.send(place.events, probe.value, key=probe.key))
        began = time.perf_counter()
        served = start(who, place, folder)
        try:
            seen: dict[int, float] = {}
            async with asyncio.timeout(ANSWERED_WITHIN_S):
                while first not in seen:
                    await read_until(consumer, seen, len(seen) + 1)
            return seen[first] - began
        finally:
            served.communicate()


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measure(sys.argv[1], sys.argv[2], int(sys.argv[3])))))
