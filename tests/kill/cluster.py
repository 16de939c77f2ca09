"""The whole crew on real parts: a broker, a PostgreSQL and an OPA of our own, each behind what can be done to it, and
one process per role. Everything is killed, paused, slowed and cut in turn under load; a checker judges the rest.
"""

import contextlib
import json
import math
import os
import random
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy.engine import make_url

from control_plane.adapters.faust import open_log_reader
from control_plane.adapters.opa.config import opa_config
from control_plane.adapters.opa.signing import BundleKey
from control_plane.ports.backbone import Record
from tests.kill.checker import check
from tests.kill.history import TOPICS, Findings
from tests.kill.outside import check_outside
from tests.kill.parcels import Parcels
from tests.kill.scene import Load
from tests.kill.time_machine import judge_replays
from tests.kill.workload import KEY
from tests.opa_world import OpaProcess
from tests.proxies import Proxy
from tests.real_parts import KAFKA, OPA, POSTGRES, TOXIPROXY, OwnServer, free_port
from tests.workers.processes import Crew, Worker, until_ready

EVENTS_BETWEEN = 200
ACKNOWLEDGED_WITHIN_S = 120.0
SETTLED_WITHIN_S = 180.0
READY_WITHIN_S = 90.0
POLL_S = 0.1
PAUSE_S_MAX, OUTAGE_S_MAX, SLOW_MS = 20.0, 5.0, 150
PARTITIONS = 4
ROLES = ("api", "recorder", "agents", "executors", "executors", "loop", "loop")
LOOPS_MIN, LOOPS_MAX = 1, 3
BUNDLE_KEY = "kill-harness-bundle-key-0123456789"
ACTING_AGAIN_S_MAX = 15.0
"""After an outage has ended (R3)."""
KILLS_SHARE = 2 / 3
KILLED_OFTENER = ("loop", "loop", "executors")
"""Those that act; a kill is drawn among these and all others."""

Harm = Callable[[], str]
"""Does it, and gives its name where that is not known before."""


@dataclass
class Parts:
    """What the crew rests on, with the ways to harm it."""

    kafka: OwnServer
    way_to_kafka: Proxy
    database: OwnServer
    way_to_database: Proxy
    opa: OpaProcess

    @property
    def store(self) -> str:
        """The database, through its proxy."""
        way = make_url(self.database.address).set(port=self.way_to_database.port)
        return way.render_as_string(hide_password=False)


@contextlib.contextmanager
def parts_of_our_own(root: Path, api_url: str) -> Iterator[Parts]:
    """Each started for this ordeal alone, because each will be harmed."""
    OPA.ensure()
    assert not OPA.absent, OPA.absent
    with contextlib.ExitStack() as stack:
        poison = stack.enter_context(TOXIPROXY.own())
        database = stack.enter_context(POSTGRES.own())
        port = free_port()
        way_to_kafka = stack.enter_context(Proxy(poison.address, port))
        home = stack.enter_context(tempfile.TemporaryDirectory(prefix="setpoint-kafka-"))
        kafka = OwnServer(KAFKA, home, port)
        stack.callback(kafka.kill)
        # Whoever asks a broker is told where it is: through the proxy, so that nobody gets around it.
        kafka.start(f"advertised.listeners=PLAINTEXT://127.0.0.1:{way_to_kafka.port}")
        way_to_database = stack.enter_context(Proxy(poison.address, database.port))
        config = opa_config(api_url, BundleKey(BUNDLE_KEY))
        opa = OpaProcess(Path(OPA.address), root / "opa", config, f"http://127.0.0.1:{free_port()}")
        stack.callback(opa.kill)
        opa.start()
        yield Parts(kafka, way_to_kafka, database, way_to_database, opa)


@dataclass
class ClusterOrdeal:
    """One log, one crew, many harms. Workers that end by themselves are started again, as in a cluster."""

    root: Path
    seed: int
    events_per_s: float = 300.0
    kills: Counter[str] = field(default_factory=Counter)
    """What was done to it, by name."""

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._scene = Parcels(events_per_s=self.events_per_s)
        self._gave_up: Counter[str] = Counter()
        self._again_s: dict[str, float] = {}
        """How long after the end of an outage it acted again, the slowest of each kind."""

    def run(self, harms: int, harmed: Callable[[int], None] = lambda _acknowledged: None) -> Findings:
        """Do so many harms, let everything finish, and judge."""
        self.root.mkdir(parents=True, exist_ok=True)
        api_port = free_port()
        with parts_of_our_own(self.root, f"http://127.0.0.1:{api_port}") as parts:
            self._parts = parts
            self._backbone = f"kafka://127.0.0.1:{parts.way_to_kafka.port}"
            self._crew = self._crew_at(api_port)
            with self._scene.playing(self.root, self._crew.workspace, self._crew.url, self.seed) as load:
                try:
                    findings = self._harmed(load, harms, harmed)
                finally:
                    self._crew.end()
            if not findings.violations:
                findings.add(judge_replays(self._backbone, self._scene, self.root / "copies", self.seed))
        findings.counts.update({f"workers of {role} that gave up": n for role, n in self._gave_up.items()})
        findings.slowest_s |= self._again_s
        late = [(name, s) for name, s in self._again_s.items() if s > ACTING_AGAIN_S_MAX]
        findings.wrong("R3", f"outages after which it acted again later than {ACTING_AGAIN_S_MAX:g} s", late)
        return findings

    def _crew_at(self, api_port: int) -> Crew:
        environ = {
            "SETPOINT_PARTITIONS": str(PARTITIONS),
            "SETPOINT_STORE": self._parts.store,
            "SETPOINT_POLICY_ENGINE": self._parts.opa.url,
            "SETPOINT_BUNDLE_KEY": BUNDLE_KEY,
        }
        home = self.root / "home"
        return Crew(self.root / "workspace", self._backbone, home, environ, key=KEY, port=api_port)

    def _harmed(self, load: Load, harms: int, harmed: Callable[[int], None]) -> Findings:
        for role in ROLES:
            self._crew.start(role)
        for worker in self._crew.workers:
            worker.until_started()
        with self._crew.client() as client:
            until_ready(client, READY_WITHIN_S)
        for name, harm in self._plan(harms):
            self._until_acknowledged(load, EVENTS_BETWEEN)
            self.kills[harm() or name] += 1
            if name:
                self._note_acting_again(name)
            harmed(len(load.acknowledged))
        self._until_acknowledged(load, EVENTS_BETWEEN)
        self._stop(load)
        findings = self._settled(load)
        codes = {worker.name: worker.stop() for worker in self._crew.workers}
        findings.wrong("stop", "workers that did not stop cleanly", [found for found in codes.items() if found[1]])
        return findings

    def _plan(self, harms: int) -> Sequence[tuple[str, Harm]]:
        """Two of three are `kill -9` of a worker. The others go on where the seed before left off, so that a few logs
        see every kind."""
        others = self._harms()
        kills = math.ceil(harms * KILLS_SHARE)
        first = self.seed * (harms - kills)
        plan = kills * [("", self._kill)] + [others[(first + n) % len(others)] for n in range(harms - kills)]
        self._random.shuffle(plan)
        return plan

    def _harms(self) -> list[tuple[str, Harm]]:
        parts = self._parts
        kafka, database = parts.way_to_kafka, parts.way_to_database
        return [
            ("", self._come_or_go),
            ("broker killed", lambda: self._away(parts.kafka.kill, self._start_kafka)),
            ("broker paused", lambda: self._paused(parts.kafka, PAUSE_S_MAX)),
            ("broker slow", lambda: self._away(lambda: kafka.slow(SLOW_MS), kafka.heal)),
            ("broker cut off", lambda: self._away(kafka.refuse, kafka.heal)),
            ("broker silent", lambda: self._away(kafka.swallow, kafka.heal)),
            ("database killed", lambda: self._away(parts.database.kill, parts.database.start)),
            ("database cut off", lambda: self._away(database.refuse, database.heal)),
            ("database silent", lambda: self._away(database.swallow, database.heal)),
            ("OPA killed", lambda: self._away(parts.opa.kill, parts.opa.start)),
            ("OPA paused", lambda: self._away(parts.opa.pause, parts.opa.go_on)),
            ("", self._pause_worker),
        ]

    def _kill(self) -> str:
        role = self._random.choice((*KILLED_OFTENER, *ROLES))
        worker = self._one_of(role)
        worker.kill()
        self._crew.workers.remove(worker)
        self._crew.start(role, name=worker.name)
        return f"{role} killed"

    def _come_or_go(self) -> str:
        loops = [worker for worker in self._crew.workers if worker.role == "loop"]
        able = [worker for worker in loops if worker.has_started]
        if not able or (len(loops) < LOOPS_MAX and (len(loops) <= LOOPS_MIN or self._random.random() < 0.5)):
            self._crew.start("loop")
            return "loop joined"
        gone = self._random.choice(able)
        gone.process.send_signal(signal.SIGTERM)
        code = gone.process.wait(READY_WITHIN_S)
        assert code == 0, f"{gone.name} did not leave cleanly ({code}):\n{gone.logged()[-3000:]}"
        self._crew.workers.remove(gone)
        return "loop left"

    def _pause_worker(self) -> str:
        """Longer than the group waits, so that it is thrown out and wakes up as a former owner."""
        worker = self._one_of(self._random.choice(("loop", "executors")))
        worker.process.send_signal(signal.SIGSTOP)
        self._last(self._random.uniform(7.0, 12.0))
        worker.process.send_signal(signal.SIGCONT)
        return f"{worker.role} paused"

    def _one_of(self, role: str) -> Worker:
        return self._random.choice([worker for worker in self._crew.workers if worker.role == role])

    def _away(self, begin: Callable[[], None], end: Callable[[], None]) -> str:
        begin()
        self._last(self._random.uniform(0.2, OUTAGE_S_MAX))
        end()
        return ""

    def _paused(self, server: OwnServer, seconds_max: float) -> str:
        os.kill(server.pid, signal.SIGSTOP)
        self._last(self._random.uniform(1.0, seconds_max))
        os.kill(server.pid, signal.SIGCONT)
        return ""

    def _start_kafka(self) -> None:
        self._parts.kafka.start(f"advertised.listeners=PLAINTEXT://127.0.0.1:{self._parts.way_to_kafka.port}")

    def _last(self, seconds: float) -> None:
        """A fault lasts. Nothing else tells that it has."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            time.sleep(POLL_S)
            self._supervise()

    def _note_acting_again(self, outage: str) -> None:
        began, done = time.monotonic(), len(self._scene.deeds())
        while len(self._scene.deeds()) == done:
            assert time.monotonic() - began < ACKNOWLEDGED_WITHIN_S, f"it never acts again after: {outage}"
            time.sleep(POLL_S)
            self._supervise()
        self._again_s[outage] = max(self._again_s.get(outage, 0.0), round(time.monotonic() - began, 1))

    def _supervise(self) -> None:
        for worker in self._crew.restart_ended():
            self._gave_up[worker.role] += 1

    def _until_acknowledged(self, load: Load, more: int) -> None:
        wanted, until = len(load.acknowledged) + more, time.monotonic() + ACKNOWLEDGED_WITHIN_S
        while len(load.acknowledged) < wanted:
            assert time.monotonic() < until, f"{more} events were not taken within {ACKNOWLEDGED_WITHIN_S:g} s"
            time.sleep(POLL_S)
            self._supervise()

    def _stop(self, load: Load) -> None:
        until = time.monotonic() + ACKNOWLEDGED_WITHIN_S
        while True:
            self._supervise()
            try:
                return load.stop(timeout_s=1.0)
            except AssertionError:
                if time.monotonic() > until:
                    raise

    def _settled(self, load: Load) -> Findings:
        """The findings once nothing is open any more, or those that remain when waiting did not help."""
        until = time.monotonic() + SETTLED_WITHIN_S
        while True:
            self._supervise()
            with closing(open_log_reader(self._backbone)) as log:
                findings = check(log, self._scene, load)
                findings.add(check_outside(log, self._parts.database.address))
            if not findings.violations:
                return findings
            if time.monotonic() > until:
                self._keep_the_log()
                return findings
            time.sleep(1.0)

    def _keep_the_log(self) -> None:
        """The broker goes with the ordeal, and whoever looks for the reason needs what it held."""
        with closing(open_log_reader(self._backbone)) as log, (self.root / "log.jsonl").open("w") as kept:
            for topic in TOPICS:
                for partition in range(log.partitions(topic)):
                    for record in log.read(topic, partition):
                        kept.write(f"{json.dumps(_legible(record))}\n")


def _legible(record: Record) -> dict[str, Any]:
    return {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "recorded_ms": record.recorded_ms,
        "headers": {name: value.decode(errors="replace") for name, value in record.headers},
        "value": record.value.decode(errors="replace"),
    }
