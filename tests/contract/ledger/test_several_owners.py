"""Several processes on one ledger, killed while they act: each command is done once, one at a time on its subject, and
none of an epoch that is over."""

import asyncio
import random
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from tests.contract.ledger.one_owner import COMMANDS, WorldFile, commands
from tests.databases import own_database, server

pytestmark = [pytest.mark.postgres, pytest.mark.kills, pytest.mark.timeout(240)]

PROCESSES = 3
KILLS = 4
TIMEOUT_S = 120.0


class Owners:
    """The processes, however many were killed."""

    def __init__(self, store: str, world: Path) -> None:
        self.world = WorldFile(world)
        self._call = [sys.executable, "-m", "tests.contract.ledger.one_owner", store, str(world)]
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """One more."""
        self._running.append(subprocess.Popen(self._call))

    def kill(self, rng: random.Random) -> None:
        """One of those that act, in the middle of whatever it does."""
        acting = {line["by"] for line in self.world.lines() if line["what"] == "begun"}
        victim = rng.choice([process for process in self._running if process.pid in acting])
        self._running.remove(victim)
        victim.kill()
        assert victim.wait() == -signal.SIGKILL, "it ended by itself before it was killed"

    def until(self, what: str, count: int) -> None:
        """Wait until so many commands have come so far."""
        self._wait(lambda: len({line["id"] for line in self.world.lines() if line["what"] == what}) >= count)

    def _wait(self, come: Callable[[], bool]) -> None:
        deadline = time.monotonic() + TIMEOUT_S
        while not come():
            assert all(process.poll() is None for process in self._running), "an owner ended by itself"
            assert time.monotonic() < deadline, f"still waiting after {TIMEOUT_S:.0f} s"
            time.sleep(0.05)

    def stop(self) -> list[int]:
        """Tell all that still run to stop, once they listen; their exit codes."""
        pids = {process.pid for process in self._running}
        self._wait(lambda: pids <= {line["by"] for line in self.world.lines() if line["what"] == "listening"})
        for process in self._running:
            process.terminate()
        return [process.wait(30.0) for process in self._running]

    def end(self) -> None:
        """Nobody is left, whatever happened."""
        for process in self._running:
            process.kill()
            process.wait()


@contextmanager
def owners(store: str, world: Path) -> Iterator[Owners]:
    several = Owners(store, world)
    try:
        yield several
    finally:
        several.end()


async def test_owners_that_are_killed_while_they_act_leave_nothing_undone_and_nothing_done_twice(
    postgres_url: str, tmp_path: Path
) -> None:
    rng = random.Random(20261121)
    async with own_database(postgres_url) as store:
        with owners(store, tmp_path / "world") as several:
            for _ in range(PROCESSES):
                several.start()
            for n in range(1, KILLS + 1):
                several.until("done", n * COMMANDS // (KILLS + 1))
                several.kill(rng)
                several.start()
            several.until("published", COMMANDS)
            await everything_is_noted(store)
            assert several.stop() == [0] * PROCESSES
            lines = several.world.lines()

        done = Counter(line["id"] for line in lines if line["what"] == "done")
        assert {id: times for id, times in done.items() if times > 1} == {}
        assert len(done) == COMMANDS
        assert not any(line["what"] == "begun" and line["id"].startswith("stale") for line in lines)
        assert {line["status"] for line in lines if line["what"] == "published"} == {"succeeded"}
        assert len({line["by"] for line in lines if line["what"] == "done"}) > PROCESSES
        assert_one_at_a_time_and_in_order(lines)
        async with server(store) as connection:
            assert await connection.fetch("SELECT state, count(*) FROM ledger GROUP BY state") == [(3, COMMANDS)]


async def everything_is_noted(store: str) -> None:
    """Wait until the ledger knows that every outcome was published: one whose owner was killed before it noted that is
    published again by its heir."""
    async with server(store) as connection, asyncio.timeout(TIMEOUT_S):
        while await connection.fetchval("SELECT count(*) FROM ledger WHERE state < 3"):  # noqa: ASYNC110 - other processes write it
            await asyncio.sleep(0.1)


def assert_one_at_a_time_and_in_order(lines: list[dict[str, object]]) -> None:
    """On each subject an act that was done stands right behind its own beginning, and they stand in order."""
    by_subject = defaultdict(list)
    for line in lines:
        if line["what"] in {"begun", "done"}:
            by_subject[line["subject"]].append(line)
    for subject, acts in by_subject.items():
        for before, line in pairwise(acts):
            if line["what"] == "done":
                assert (before["what"], before["id"], before["by"]) == ("begun", line["id"], line["by"])
        asked = [c.lineage.message_id for c in commands() if c.subject == subject]
        assert [line["id"] for line in acts if line["what"] == "done"] == asked
