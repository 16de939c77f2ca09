"""Poison of every kind, so many of each, onto a log; then what can be mended is, and is redriven.

`make poison N=200`; the result is one JSON object on stdout.
"""

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.poison.house import PATIENCE_S, House, subjects
from tests.poison.killing import redrive_under_kills
from tests.poison.kinds import POISON
from tests.poison.ordeal import PATIENCE_EACH_S, Ordeal, under_load
from tests.poison.outside import leave_kafka_as_it_was
from tests.poison.redrive import MENDED, bury, not_once, sweep

LOAD_PER_SECOND = 200
LOAD_S_MAX = 60
VIOLATIONS_SHOWN_MAX = 20
LETTERS_KILLED = 200
"""Redriven while the service is killed."""


async def ordeal(house: House, second: House, each: int) -> dict[str, Any]:
    """All of it on one log; redrives under kills on a second one."""
    began = time.monotonic()
    async with house.alive() as life:
        all_kinds = await Ordeal(life, each=each).run()
        load = await under_load(
            life, events=LOAD_PER_SECOND * min(LOAD_S_MAX, max(2, each // 10)), per_second=LOAD_PER_SECOND
        )
        machines = subjects(each, "mended")
        await bury(life, machines)
        await life.apply(**MENDED)
        async with life.client() as client:
            await asyncio.gather(*(sweep(client) for _ in range(3)))
        found = await life.until(
            lambda found: found.outcomes.keys() >= set(machines), PATIENCE_S + each * PATIENCE_EACH_S
        )
    twice_or_never = not_once(found, machines)
    wrong = all_kinds.violations + load.violations + twice_or_never
    killed = await redrive_under_kills(second, letters_=LETTERS_KILLED, kills=max(3, each // 10), seed=each)
    wrong += killed.violations
    return {
        "log": house.url.partition("?")[0],
        "kinds": len(POISON),
        "poisoned": all_kinds.poisoned,
        "effects behind": all_kinds.effects,
        "poisoned under load": load.poisoned,
        "effects under load": load.effects,
        "redriven": each - len(twice_or_never),
        "redriven under kills": LETTERS_KILLED - len(killed.violations),
        "kills": killed.kills,
        "requests cut": killed.cut,
        "duration_s": round(time.monotonic() - began, 1),
        "violations": len(wrong),
        "first violations": wrong[:VIOLATIONS_SHOWN_MAX],
    }


async def on(backbone: str, each: int) -> dict[str, Any]:
    """On fresh logs of a kind; those with a violation are kept."""
    root = Path(tempfile.mkdtemp(prefix="setpoint-poison-"))
    address = backbone.removeprefix("kafka://")
    kind = "kafka" if backbone.startswith("kafka://") else backbone
    houses = House.on(kind, root / "kinds", address), House.on(kind, root / "kills", address)
    result = await ordeal(*houses, each)
    if result["violations"]:
        sys.stderr.write(f"kept: {root}, {', '.join(house.url for house in houses)}\n")
        return result
    shutil.rmtree(root)
    for house in houses:
        if house.is_kafka:
            await leave_kafka_as_it_was(house.url)
    return result


def main() -> int:
    """Exit code 0 only without a single violation."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.poison", description="Poison a log, and judge what came of it."
    )
    parser.add_argument("--each", type=int, default=20, help="how many of each kind (%(default)s)")
    parser.add_argument("--backbone", default="embedded", help="embedded, embedded-not-atomic, or kafka://host:port")
    asked = parser.parse_args()
    result = asyncio.run(on(asked.backbone, asked.each))
    sys.stdout.write(json.dumps(result, indent=2) + "\n")
    return 1 if result["violations"] else 0


if __name__ == "__main__":
    sys.exit(main())
