"""Takes the database of ledger and audit store away from a service under load, and gives it back."""

import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from tests.kill.history import Findings
from tests.kill.run import STOP_TIMEOUT_S, Ordeal
from tests.kill.scene import Load

EVENTS_BETWEEN = 60
"""Events that are taken before each outage, and during it: the log needs no database."""
QUIET_S = 1.0
QUIET_TIMEOUT_S = 15.0
"""What was begun before the outage may still act, until its attempt is over."""
ACTING_AGAIN_MAX_S = 15.0
ACTING_AGAIN_TIMEOUT_S = 60.0
POLL_S = 0.02


@dataclass(frozen=True, kw_only=True)
class Outage:
    """One way for a database to be away, and its cure."""

    name: str
    begin: Callable[[], None]
    end: Callable[[], None]
    still_acts: bool = False
    """It is only ill, and acting may go on."""


class StoreOrdeal(Ordeal):
    """The service lives through; its database does not."""

    def take_away(self, outages: Iterable[Outage], lasting_s: Callable[[], float] = lambda: 0.0) -> Findings:
        """One outage after the other under load, each for so long at least; then all is judged."""
        found = Findings()
        with self._under_load() as load:
            with self._started({}) as service:
                self._wait_ready(service)
                for outage in outages:
                    self._live_through(outage, lasting_s(), load, found)
                    assert service.poll() is None, f"the service ended by itself; see {self.log}"
                self._told_to_stop(service, found)
            found.add(self._last_life(load))
        return found

    def stop_during(self, outage: Outage) -> Findings:
        """Tell the service to stop while its database is away; the next one, which has it again, ends what is open."""
        found = Findings()
        with self._under_load() as load:
            with self._started({}) as service:
                self._wait_ready(service)
                load.until_acknowledged(EVENTS_BETWEEN)
                outage.begin()
                load.until_acknowledged(EVENTS_BETWEEN)
                service.send_signal(signal.SIGTERM)
                # Its code may say that it could not write down all that came of its last acts.
                service.wait(STOP_TIMEOUT_S)
            outage.end()
            found.add(self._last_life(load))
        return found

    def _under_load(self) -> AbstractContextManager[Load]:
        self.root.mkdir(parents=True, exist_ok=True)
        return self.scene.playing(self.root, self.workspace, self.url, self.seed)

    def _told_to_stop(self, service: subprocess.Popen[bytes], found: Findings) -> None:
        service.send_signal(signal.SIGTERM)
        code = service.wait(STOP_TIMEOUT_S)
        found.wrong("stop", "services that did not stop cleanly on SIGTERM", [code] if code else [])

    def _live_through(self, outage: Outage, lasting_s: float, load: Load, found: Findings) -> None:
        load.until_acknowledged(EVENTS_BETWEEN)
        outage.begin()
        if not outage.still_acts:
            self._until_quiet()
        done = len(self.scene.deeds())
        # Long outages are what is tried: nothing else tells that one has lasted.
        time.sleep(lasting_s)
        load.until_acknowledged(EVENTS_BETWEEN)
        more = len(self.scene.deeds()) - done
        outage.end()
        if outage.still_acts:
            return
        found.wrong("R10", f"acts while the ledger was away ({outage.name})", range(more))
        again_s = self._until_acting(done + more)
        slowest = f"ms to act again, slowest ({outage.name})"
        found.counts[slowest] = max(found.counts[slowest], int(again_s * 1000))
        found.wrong("R3", f"seconds until it acted again ({outage.name})", [again_s] * (again_s > ACTING_AGAIN_MAX_S))

    def _until_quiet(self) -> None:
        """Until nothing was done for a while."""
        began = last = time.monotonic()
        done = len(self.scene.deeds())
        while time.monotonic() - last < QUIET_S:
            assert time.monotonic() - began < QUIET_TIMEOUT_S, "it goes on acting without a ledger"
            time.sleep(POLL_S)
            if len(self.scene.deeds()) > done:
                done, last = len(self.scene.deeds()), time.monotonic()

    def _until_acting(self, done: int) -> float:
        began = time.monotonic()
        while len(self.scene.deeds()) == done:
            assert time.monotonic() - began < ACTING_AGAIN_TIMEOUT_S, f"it never acts again; see {self.log}"
            time.sleep(POLL_S)
        return time.monotonic() - began
