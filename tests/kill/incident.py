"""The incident example as users get it: real services, broken for real, and a control plane that is killed meanwhile.

What was done is known from what each service wrote when it started.
"""

import asyncio
import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from random import Random

from control_plane.demo.incident import prepared
from control_plane.demo.plan import FAULTS, SPIKES
from control_plane.demo.workers import Workers, end_all
from control_plane.errors import TemporaryError
from tests.kill.history import Findings, History
from tests.kill.scene import Deed, Weakness

BREAKS_EVERY_S = 1.0
LEFT_ALONE_S = 6.0
"""How long a service must have been well before it is broken again: as long as an action on it takes to be judged."""
LAST_FAULTS = 4
CALM_S = 4.0
"""After the last repair: until every effect is judged."""


class Breaker:
    """Breaks services that are well, in one way after the other (`scene.Load`). It sends no facts: probes do."""

    def __init__(self, workers: Workers, seed: int) -> None:
        self.acknowledged: set[str] = set()
        self.order: list[str] = []
        self.broken: Counter[str] = Counter()
        self._workers = workers
        self._random = Random(seed)
        self._ways = cycle((*FAULTS, *FAULTS, SPIKES[0], *FAULTS, SPIKES[1]))
        self._stop, self._given_up = threading.Event(), threading.Event()
        self._well_since: dict[str, float] = {}
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def start(self) -> None:
        """Begin to break."""
        self._thread.start()

    def until_acknowledged(self, more: int, timeout_s: float = 120.0) -> None:
        """Return once a few more were broken; how many facts that makes is for the probes to say."""
        wanted = self.broken.total() + LAST_FAULTS
        self._wait(lambda: self.broken.total() >= wanted, timeout_s, "the services were not repaired")

    def stop(self, timeout_s: float = 60.0) -> None:
        """Break nothing more, and return once all are well and have been for a while."""
        self._stop.set()
        self._wait(lambda: self._are_well_for(CALM_S), timeout_s, "not every service became well again")

    def give_up(self) -> None:
        """End the thread, whatever is broken."""
        self._given_up.set()
        self._thread.join()

    def _wait(self, holds: Callable[[], bool], timeout_s: float, otherwise: str) -> None:
        with self._changed:
            in_time = self._changed.wait_for(holds, timeout_s)
        assert in_time, f"{otherwise} within {timeout_s:g} s"

    def _are_well_for(self, time_s: float) -> bool:
        since = self._well_since
        return len(since) == len(self._workers.ports) and time.monotonic() - max(since.values()) > time_s

    async def _run(self) -> None:
        breaks_at_s = time.monotonic()
        while not self._given_up.is_set():
            await self._look()
            if not self._stop.is_set() and time.monotonic() >= breaks_at_s:
                breaks_at_s = time.monotonic() + BREAKS_EVERY_S
                await self._break()
            with self._changed:
                self._changed.notify_all()
            await asyncio.sleep(0.1)
        await self._workers.close()

    async def _look(self) -> None:
        for name in self._workers.ports:
            if not (await self._workers.look(name)).is_well:
                self._well_since.pop(name, None)
            else:
                self._well_since.setdefault(name, time.monotonic())

    async def _break(self) -> None:
        ready = [name for name, since_s in self._well_since.items() if time.monotonic() - since_s > LEFT_ALONE_S]
        if not ready:
            return
        name, way = self._random.choice(sorted(ready)), next(self._ways)
        with contextlib.suppress(TemporaryError):
            await self._workers.break_it(name, way)
            self.broken[way] += 1
            self._well_since.pop(name)


class Incident:
    """The example and its services (`scene.Scene`)."""

    foreseen = frozenset({"latency_guard"})
    life_max_s = 8.0
    is_quiet = False

    @contextmanager
    def playing(self, root: Path, workspace: Path, url: str, seed: int) -> Iterator[Breaker]:
        """The example as it is, on ports that are free; no service outlives it."""
        starts_file = root / "starts.jsonl"
        self._workers = Workers(prepared(workspace, starts_file), starts_file)
        self._breaker = Breaker(self._workers, seed)
        self._breaker.start()
        try:
            yield self._breaker
        finally:
            self._breaker.give_up()
            end_all(starts_file)

    def deeds(self) -> list[Deed]:
        """Every start that followed from a command, in the service's own words."""
        starts = [start for start in self._workers.starts() if start.command_id]
        return [Deed(key=start.command_id, subject=f"service/{start.name}") for start in starts]

    def check(self, history: History, findings: Findings) -> None:
        """Nothing but restarts was ever decided."""
        other = [found.intent for found in history.decisions.values() if found.intent != "restart_service"]
        findings.wrong("I3", "intents that no agent here has", other)
        findings.counts.update({f"broken: {way}": n for way, n in self._breaker.broken.items()})
        findings.counts.update(f"decisions of {found.agent}" for found in history.decisions.values())

    def weakness(self, history: History, rng: Random) -> Weakness:
        """Services are restarted because they answer."""
        return Weakness(
            rule="crash_guard", before="data.up == false", after="data.up == true", removed_type="service.probed"
        )
