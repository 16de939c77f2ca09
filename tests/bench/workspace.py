"""The workspace that is measured: one row part, ten CEL rules on the type, one Python agent, the built-in policies."""

from pathlib import Path

RULES = 10

_RULE = """\
rule: heavy_{n}
version: 1.0.0
on: parcel.scanned
when: data.weight_kg > {limit}.0 && subject.name.startsWith("never-{n}")
reads: [parcel_log]
propose: {{intent: ship_parcel, because: "weight {{data.weight_kg}}"}}
"""

_FILES = {
    "setpoint.yaml": "apiVersion: setpoint/v1\n",
    "intents/ship_parcel.yaml": (
        "intent: ship_parcel\nsubject_kind: parcel\nexecutor: dry_run\ndeadline: 10m\ncontext_age_max: 24h\n"
        "parameters: {type: object, properties: {n: {type: integer}}, additionalProperties: false}\n"
    ),
    "rows/parcel_log.yaml": (
        "row: parcel_log\non: [parcel.scanned]\nfields:\n"
        "  scans: {count: {window: 10m}}\n"
        "  last_n: {last: data.n}\n"
        "  weight_max: {max: {of: data.weight_kg, window: 10m}}\n"
    ),
    "agents/shipper.py": '''\
"""Ships a parcel for each scan that says so."""

from control_plane.sdk import Agent


class Shipper(Agent):
    name = "shipper"
    version = "1.0.0"
    listens_to = ("parcel.scanned",)
    reads = ("parcel_log",)
    intents = ("ship_parcel",)

    def decide(self, context):
        data = context.event.data
        if not data["ship"]:
            return ()
        return (context.propose("ship_parcel", because="the scan says so", parameters={"n": data["n"]}),)
''',
    "policies/permits/shipping.rego": """\
package setpoint.permits.shipping

allow contains {"code": "shipping", "msg": "parcels may be shipped"} if input.decision.intent == "ship_parcel"
""",
    "policies/permits/shipping_test.rego": """\
package setpoint.permits.shipping_test

import data.setpoint.permits.shipping

test_ships if count(shipping.allow) == 1 with input as {"decision": {"intent": "ship_parcel"}}
""",
}


def write_workspace(root: Path) -> None:
    """Write it."""
    files = dict(_FILES)
    for n in range(RULES):
        files[f"agents/heavy_{n}.yaml"] = _RULE.format(n=n, limit=10 + n)
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
