"""`make outages N=50 SECONDS=60`: take the database away from the real service, again and again, and judge the rest.

Progress goes to stderr, the result to stdout, as one object. Exit code 1 on a violation. R10 of the promises.
"""

import argparse
import asyncio
import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.engine import make_url

from control_plane.errors import SetpointError
from tests.databases import server
from tests.kill.__main__ import backbone_url
from tests.kill.history import Findings
from tests.kill.store_away import Outage, StoreOrdeal
from tests.proxies import Proxy
from tests.real_parts import POSTGRES, TOXIPROXY

OUTAGES_PER_LOG = 10
SLOW_MS = 400


@contextmanager
def outages_of_a_database() -> Iterator[tuple[str, Sequence[Outage]]]:
    """A PostgreSQL of our own behind a proxy: its URL, and each way in which it can be away."""
    with TOXIPROXY.own() as poison, POSTGRES.own() as database, Proxy(poison.address, database.port) as way:
        url = make_url(database.address).set(port=way.port).render_as_string(hide_password=False)
        yield (
            url,
            [
                Outage(name="killed", begin=database.kill, end=database.start),
                Outage(name="refused", begin=way.refuse, end=way.heal),
                Outage(name="silent", begin=way.swallow, end=way.heal),
                Outage(name="slow", begin=lambda: way.slow(SLOW_MS), end=way.heal, still_acts=True),
                Outage(
                    name="read-only",
                    begin=lambda: asyncio.run(set_read_only(database.address, "on")),
                    end=lambda: asyncio.run(set_read_only(database.address, "off")),
                ),
            ],
        )


async def set_read_only(url: str, on_or_off: str) -> None:
    """As an administrator does, on a server that runs."""
    async with server(url) as administrator:
        await administrator.execute(f"ALTER SYSTEM SET default_transaction_read_only = {on_or_off}")
        await administrator.execute("SELECT pg_reload_conf()")


def main() -> int:
    """Exit code 0 only without a single violation."""
    parser = argparse.ArgumentParser(prog="python -m tests.kill.outages", description="Take the database away.")
    parser.add_argument("--outages", type=int, default=OUTAGES_PER_LOG, help="how many in all (%(default)s)")
    parser.add_argument("--seconds", type=float, default=5.0, help="the longest (%(default)s)")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the first log; each has the next one")
    asked = parser.parse_args()
    found, lived = Findings(), Counter[str]()
    began = time.monotonic()
    for log, done in enumerate(range(0, asked.outages, OUTAGES_PER_LOG)):
        count = min(OUTAGES_PER_LOG, asked.outages - done)
        found.add(_one_log(asked.seed + log, count, asked.seconds, lived))
        print(f"{done + count} of {asked.outages} outages, {len(found.violations)} violations so far", file=sys.stderr)
    result = {
        "outages": dict(sorted(lived.items())),
        "seed": asked.seed,
        "violations": found.violations,
        "duration_s": round(time.monotonic() - began),
        "found": dict(sorted(found.counts.items())),
    }
    print(json.dumps(result))
    return 1 if found.violations else 0


def _one_log(seed: int, count: int, seconds_max: float, lived: Counter[str]) -> Findings:
    """One service with its own log and database. A log with a violation is kept."""
    root = Path(tempfile.mkdtemp(prefix="setpoint-outages-"))
    rng = random.Random(seed)
    with outages_of_a_database() as (url, ways):
        ordeal = StoreOrdeal(root, backbone_url("embedded", root), seed=seed, store=url)
        chosen = [rng.choice(ways) for _ in range(count)]
        try:
            found = ordeal.take_away(chosen, lasting_s=lambda: rng.uniform(0.0, seconds_max))
        except (AssertionError, SetpointError) as broken:
            found = Findings(violations=[f"ordeal: {type(broken).__name__}: {broken}"])
    lived.update(outage.name for outage in chosen)
    if found.violations:
        print(f"VIOLATIONS, seed {seed}: {found.violations}; kept in {root}", file=sys.stderr)
    else:
        shutil.rmtree(root)
    return found


if __name__ == "__main__":
    sys.exit(main())
