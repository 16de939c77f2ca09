"""The workspace that is killed, and the load on it."""

import json
import random
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

SUBJECTS_HOT = 20
"""Half of the load is on these: they meet commands that are still live, and the storm brake."""
SUBJECTS = 2_000
EVENTS_PER_POST = 5
WEIGHED_SHARE = 0.25
RULE = "overweight"
KG_LIMIT = 30.0
"""The rule fires above it."""
KEY = "kill-harness-key-0001"
SCANNED = "parcel.scanned"
WEIGHED = "parcel.weighed"

_SHIP = """\
intent: ship_parcel
description: Hand one parcel over.
subject_kind: parcel
executor: depot
action_class: shipping
deadline: 10m
context_age_max: 24h
parameters:
  type: object
  properties: {n: {type: integer}}
  additionalProperties: false
"""

_INSPECT = """\
intent: inspect_parcel
description: Look at a parcel that is too heavy.
subject_kind: parcel
executor: depot
action_class: inspection
deadline: 10m
context_age_max: 24h
"""

_EXECUTOR = """\
executor: depot
kind: http
request: {{method: POST, url: "http://127.0.0.1:{port}/parcels/{{subject}}", body: parameters}}
idempotency_header: Idempotency-Key
reconcile:
  method: GET
  url: "http://127.0.0.1:{port}/by-key/{{command_id}}"
  done_when: "status == 200"
  absent_when: "status == 404"
  settle: 50ms
timeout: 2s
retry: {{attempts: 20, backoff: 100ms}}
"""

_ROW = """\
row: parcel_log
on: [parcel.scanned]
fields:
  scans: {count: {window: 1h}}
  last_n: {last: data.n}
  pace: {rate: {window: 10s}}
  n_p50: {quantile: {of: data.n, q: 0.5, window: 30s}}
  numbers: {distinct: {of: data.n, window: 20s}}
"""

_WEIGHT = """\
row: parcel_weight
on: [parcel.weighed]
fields:
  kg: {last: data.kg}
"""

_RULE = f"""\
rule: {RULE}
version: 1.0.0
on: parcel.weighed
when: data.kg > {KG_LIMIT}
reads: [parcel_weight]
propose:
  intent: inspect_parcel
  because: "{{data.kg}} kg is too much"
expects: {{where: "rows.parcel_weight.kg < {KG_LIMIT}", within: 1s, samples_min: 1}}
"""

_CROWDED = """\
rule: crowded
version: 1.0.0
on: parcel.scanned
count: {min: 4, window: 4s}
reads: [parcel_log]
propose:
  intent: inspect_parcel
  because: "{rows.parcel_log.numbers} scans lately, {rows.parcel_log.pace} a second"
once_within: 2s
"""

_LINGERING = """\
rule: lingering
version: 1.0.0
on: parcel.weighed
when: data.kg > reference.limits["parcel"].kg_calm
for: 700ms
reads: [parcel_weight]
propose: {intent: inspect_parcel, because: "still {data.kg} kg"}
keep_firing_for: 300ms
"""

_LIMITS = """\
reference: limits
key: what
rows:
  - {what: parcel, kg_calm: 15.0}
"""

_AGENT = '''\
"""Ships a parcel for each scan that says so."""

from control_plane.sdk import Agent, Context


class Shipper(Agent):
    name = "shipper"
    version = "1.0.0"
    listens_to = ("parcel.scanned",)
    reads = ("parcel_log",)
    intents = ("ship_parcel",)

    def decide(self, context: Context):
        if not context.event.data["ship"]:
            return ()
        n = context.event.data["n"]
        return (context.propose("ship_parcel", because=f"scan {n} says so", parameters={"n": n}),)
'''

_PERMIT = """\
package setpoint.permits.shipping

allow contains {"code": "shipping", "msg": "parcels may be shipped"} if {
	input.decision.intent == "ship_parcel"
	input.decision.parameters.n % 10 != 7
}

allow contains {"code": "inspecting", "msg": "parcels may be looked at"} if input.decision.intent == "inspect_parcel"
"""

_PERMIT_TEST = """\
package setpoint.permits.shipping_test

import data.setpoint.permits.shipping

scan(n) := {"decision": {"intent": "ship_parcel", "parameters": {"n": n}}}

test_ships if count(shipping.allow) == 1 with input as scan(1)

test_sevens_stay if count(shipping.allow) == 0 with input as scan(7)

test_inspects if count(shipping.allow) == 1 with input as {"decision": {"intent": "inspect_parcel"}}
"""


def write_workspace(root: Path, target_port: int) -> None:
    """Two intents over HTTP, a Python agent, a rule that expects an effect, two that wait and count, windows and
    sketches, a table, and a permit that denies a tenth."""
    files = {
        "setpoint.yaml": "apiVersion: setpoint/v1\n",
        "intents/ship_parcel.yaml": _SHIP,
        "intents/inspect_parcel.yaml": _INSPECT,
        "executors/depot.yaml": _EXECUTOR.format(port=target_port),
        "rows/parcel_log.yaml": _ROW,
        "rows/parcel_weight.yaml": _WEIGHT,
        "agents/shipper.py": _AGENT,
        "agents/overweight.yaml": _RULE,
        "agents/crowded.yaml": _CROWDED,
        "agents/lingering.yaml": _LINGERING,
        "reference/limits.yaml": _LIMITS,
        "policies/permits/shipping.rego": _PERMIT,
        "policies/permits/shipping_test.rego": _PERMIT_TEST,
    }
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


@dataclass
class Load:
    """Events posted at a steady rate until stopped; one that was not acknowledged is posted again, with the same id.

    `acknowledged` holds the ids that REST answered 202 for: those must not be lost.
    """

    url: str
    seed: int
    events_per_s: float = 150.0
    acknowledged: set[str] = field(default_factory=set)
    order: list[str] = field(default_factory=list)
    posts_failed: int = 0

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._given_up = threading.Event()
        self._grown = threading.Condition()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._random = random.Random(self.seed)

    def start(self) -> None:
        """Begin posting."""
        self._thread.start()

    def until_acknowledged(self, more: int, timeout_s: float = 60.0) -> None:
        """Return once so many more events are acknowledged."""
        wanted = len(self.acknowledged) + more
        with self._grown:
            in_time = self._grown.wait_for(lambda: len(self.acknowledged) >= wanted, timeout_s)
        assert in_time, f"the service did not take {more} events within {timeout_s:g} s"

    def stop(self, timeout_s: float = 60.0) -> None:
        """Stop making new events, and return once all that were made are acknowledged."""
        self._stop.set()
        self._thread.join(timeout_s)
        assert not self._thread.is_alive(), "the last events were never acknowledged: the service is not up"

    def give_up(self) -> None:
        """End the thread, whatever was acknowledged: for a run that failed."""
        self._stop.set()
        self._given_up.set()
        self._thread.join()

    def _run(self) -> None:
        interval_s = EVENTS_PER_POST / self.events_per_s
        with httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {KEY}"}, timeout=10.0) as client:
            while not self._stop.is_set():
                began = time.monotonic()
                self._post(client, [self._event() for _ in range(EVENTS_PER_POST)])
                self._stop.wait(max(0.0, interval_s - (time.monotonic() - began)))

    def _event(self) -> dict[str, Any]:
        n = len(self.order) + 1
        self.order.append(f"event-{self.seed}-{n}")
        subjects = SUBJECTS_HOT if self._random.random() < 0.5 else SUBJECTS
        weighed = self._random.random() < WEIGHED_SHARE
        return {
            "specversion": "1.0",
            "id": self.order[-1],
            "source": "kill-harness",
            "type": WEIGHED if weighed else SCANNED,
            "subject": f"parcel/{self._random.randrange(subjects)}",
            "data": self._weight() if weighed else {"n": n, "ship": self._random.random() < 0.5},
        }

    def _weight(self) -> dict[str, Any]:
        return {"kg": round(self._random.uniform(0.0, 40.0), 2)}

    def _post(self, client: httpx.Client, events: list[dict[str, Any]]) -> None:
        body = json.dumps(events)
        while not self._given_up.is_set():
            try:
                answer = client.post(
                    "/v1/events", content=body, headers={"Content-Type": "application/cloudevents-batch+json"}
                )
            except httpx.HTTPError:
                answer = None
            if answer is not None and answer.status_code == 202:
                with self._grown:
                    self.acknowledged.update(event["id"] for event in events)
                    self._grown.notify_all()
                return
            assert answer is None or answer.status_code >= 500, f"{answer.status_code} {answer.text}"
            self.posts_failed += 1
            # The service is down; nothing tells when it listens again but asking.
            self._given_up.wait(0.05)
