"""The workspace of the parcels: all that can wait, count, be remembered, take its time and be limited together."""

from pathlib import Path

RULE = "overweight"
KG_LIMIT = 30.0
"""The rule fires above it."""
SHARE_MAX = 0.4
"""Of the belts may be restarted at once."""

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

_PHOTO = """\
intent: photo_parcel
description: Take a picture of a parcel that came to harm.
subject_kind: parcel
executor: depot
action_class: photos
deadline: 10m
context_age_max: 24h
"""

_RESTART = """\
intent: restart_belt
description: Stop a belt and start it again.
subject_kind: belt
executor: depot
deadline: 10m
context_age_max: 24h
limits: {fleet_share_max: 0.4}
"""

_BELTS = """\
fleet: belts
members: subject.kind == "belt"
"""

_BELT_RULE = """\
rule: belt_guard
version: 1.0.0
on: belt.slowed
when: data.mpm < 10
repeat_interval: 500ms
propose: {intent: restart_belt, because: "only {data.mpm} m a minute"}
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

_SLOW_AGENT = '''\
"""Takes its time to look at a parcel that came to harm."""

import asyncio

from control_plane.sdk import Context, SlowAgent


class Surveyor(SlowAgent):
    name = "surveyor"
    version = "1.0.0"
    listens_to = ("parcel.damaged",)
    reads = ()
    intents = ("photo_parcel",)

    async def decide(self, context: Context):
        await asyncio.sleep(0.05)
        if not context.event.data["dent"]:
            return ()
        return (context.propose("photo_parcel", because="it has a dent"),)
'''

_PERMIT = """\
package setpoint.permits.shipping

allow contains {"code": "shipping", "msg": "parcels may be shipped"} if {
	input.decision.intent == "ship_parcel"
	input.decision.parameters.n % 10 != 7
}

allow contains {"code": "inspecting", "msg": "parcels may be looked at"} if input.decision.intent == "inspect_parcel"

allow contains {"code": "others", "msg": "so may these"} if input.decision.intent in {"photo_parcel", "restart_belt"}
"""

_PERMIT_TEST = """\
package setpoint.permits.shipping_test

import data.setpoint.permits.shipping

scan(n) := {"decision": {"intent": "ship_parcel", "parameters": {"n": n}}}

test_ships if count(shipping.allow) == 1 with input as scan(1)

test_sevens_stay if count(shipping.allow) == 0 with input as scan(7)

test_photographs if count(shipping.allow) == 1 with input as {"decision": {"intent": "photo_parcel"}}

test_inspects if count(shipping.allow) == 1 with input as {"decision": {"intent": "inspect_parcel"}}
"""


def write_workspace(root: Path, target_port: int) -> None:
    """Four intents over HTTP, a Python agent and a slow one, a rule that expects an effect, two that wait and count,
    one under a share of a fleet, windows and sketches, a table, and a permit that denies a tenth."""
    files = {
        "setpoint.yaml": "apiVersion: setpoint/v1\n",
        "intents/ship_parcel.yaml": _SHIP,
        "intents/inspect_parcel.yaml": _INSPECT,
        "executors/depot.yaml": _EXECUTOR.format(port=target_port),
        "rows/parcel_log.yaml": _ROW,
        "rows/parcel_weight.yaml": _WEIGHT,
        "intents/photo_parcel.yaml": _PHOTO,
        "intents/restart_belt.yaml": _RESTART,
        "fleets/belts.yaml": _BELTS,
        "agents/belt_guard.yaml": _BELT_RULE,
        "agents/surveyor.py": _SLOW_AGENT,
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
