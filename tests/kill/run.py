"""Kills the real service under load, again and again, and then lets it finish."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from control_plane.adapters.faust import open_log_reader
from control_plane.adapters.faust.fault_points import POINTS
from tests.kill.checker import check
from tests.kill.history import Findings
from tests.kill.outside import check_outside
from tests.kill.parcels import Parcels
from tests.kill.scene import Load, Scene
from tests.kill.time_machine import judge_replays
from tests.kill.workload import KEY
from tests.real_parts import free_port

READY_TIMEOUT_S = 60.0
SETTLE_TIMEOUT_S = 90.0
"""How long the last service may take to end everything that is open."""
STOP_TIMEOUT_S = 30.0
LAST_EVENTS_MIN = 150
"""Events that the last life takes: no log is too small to be tampered with."""

PASSAGES_MAX = 40
"""A fault point kills at one of its first passages: about as many as a life under this load has."""
ANY_TIME = "any time"


@dataclass
class Ordeal:
    """One scene, one log, many kills. `launcher` starts the service: a broken one, to see the checker bite."""

    root: Path
    backbone: str
    seed: int
    scene: Scene = field(default_factory=Parcels)
    launcher: tuple[str, ...] = (sys.executable, "-m", "control_plane.cli.main")
    faults: tuple[str, ...] = (*POINTS, ANY_TIME, ANY_TIME)
    settle_timeout_s: float = SETTLE_TIMEOUT_S
    store: str = ""
    """The store's URL, if it is not the SQLite beside the workspace."""
    kills: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.workspace = self.root / "workspace"
        self.url = f"http://127.0.0.1:{free_port()}"
        self.log = self.root / "service.log"
        self.store = self.store or f"sqlite+aiosqlite:///{self.workspace}/data/audit.db"

    def run(self, kills: int, killed: Callable[[int], None] = lambda acknowledged: None) -> Findings:
        """Kill it so many times under load, let it finish, and judge what came of it, replays of the log included."""
        findings = self._ordeal(kills, killed)
        if not findings.violations:
            findings.add(judge_replays(self.backbone, self.scene, self.root / "copies", self.seed))
        return findings

    def _ordeal(self, kills: int, killed: Callable[[int], None]) -> Findings:
        self.root.mkdir(parents=True, exist_ok=True)
        with self.scene.playing(self.root, self.workspace, self.url, self.seed) as load:
            for _ in range(kills):
                self._one_life()
                killed(len(load.acknowledged))
            return self._last_life(load)

    def _last_life(self, load: Load) -> Findings:
        """Nobody kills this one: it ends all that is open, and stops when it is told to."""
        with self._started({}) as service:
            self._wait_ready(service)
            load.until_acknowledged(LAST_EVENTS_MIN)
            load.stop()
            findings = self._settled(load) if self.scene.is_quiet else Findings()
            service.send_signal(signal.SIGTERM)
            code = service.wait(STOP_TIMEOUT_S)
        if not self.scene.is_quiet:
            with closing(open_log_reader(self.backbone)) as reader:
                findings = check(reader, self.scene, load)
        findings.wrong("stop", "services that did not stop cleanly on SIGTERM", [code] if code else [])
        return findings

    def _one_life(self) -> None:
        fault = self.random.choice(self.faults)
        environment = {} if fault == ANY_TIME else {"SETPOINT_FAULT": f"{fault}:{self.random.randint(1, PASSAGES_MAX)}"}
        life_s = self.random.uniform(0.05, self.scene.life_max_s)
        with self._started(environment) as service:
            try:
                self._wait_ready(service)
                service.wait(life_s)
            except subprocess.TimeoutExpired:
                fault = ANY_TIME
                service.kill()
            code = service.wait(STOP_TIMEOUT_S)
        assert code == -signal.SIGKILL, f"the service ended by itself with {code}; see {self.log}"
        self.kills[fault] += 1

    @contextmanager
    def _started(self, environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
        """A service, which is gone at the end whatever happens."""
        settings = {
            "SETPOINT_BACKBONE": self.backbone,
            "SETPOINT_LISTEN": self.url.removeprefix("http://"),
            "SETPOINT_API_KEY": KEY,
            "SETPOINT_STORE": self.store,
        }
        with self.log.open("ab") as log:
            service = subprocess.Popen(
                [*self.launcher, "up", str(self.workspace)],
                env={**os.environ, **settings, **environment},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            yield service
        finally:
            service.kill()
            service.wait()

    def _wait_ready(self, service: subprocess.Popen[bytes]) -> None:
        """Until it is ready, or was killed on its way there."""
        until = time.monotonic() + READY_TIMEOUT_S
        while service.poll() is None:
            try:
                if httpx.get(f"{self.url}/health/ready", timeout=2.0).status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            assert time.monotonic() < until, f"the service is not ready after {READY_TIMEOUT_S:g} s; see {self.log}"
            time.sleep(0.02)

    def _settled(self, load: Load) -> Findings:
        """The findings once nothing is open any more, or those that remain when waiting did not help."""
        until = time.monotonic() + self.settle_timeout_s
        while True:
            with closing(open_log_reader(self.backbone)) as reader:
                findings = check(reader, self.scene, load)
                findings.add(check_outside(reader, self.store))
            if not findings.violations or time.monotonic() > until:
                return findings
            time.sleep(0.5)
