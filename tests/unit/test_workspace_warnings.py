"""What may be meant, but most likely is not: warned about with its place and the cure, and nothing is stopped."""

from pathlib import Path

import pytest

from control_plane.bootstrap.workshop import load_workspace
from control_plane.workspace.creating import create_workspace

SHIP = "intent: ship_parcel\nsubject_kind: parcel\nexecutor: dry_run\n"
PERMIT = (
    "package setpoint.permits.shipping\n\n"
    'allow contains {{"code": "shipping", "msg": "parcels may be shipped"}} if {condition}\n'
)
SCHEMA = '{"type": "object", "properties": {"weight_kg": {"type": "number"}}}'
RULE = "rule: heavy\nversion: 1.0.0\non: parcel.scanned\nwhen: %s\npropose: {intent: ship_parcel, because: heavy}\n"
ROW = "row: parcel_log\non: [parcel.scanned]\nfields:\n  heaviest: {max: {of: %s, window: 1m}}\n"


def warnings_of(tmp_path: Path, files: dict[str, str]) -> list[str]:
    folder = create_workspace(tmp_path / "w")
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return [str(flaw) for flaw in load_workspace(folder).warnings]


def test_an_intent_that_no_permit_names_is_warned_about(tmp_path: Path) -> None:
    found = warnings_of(tmp_path, {"intents/ship_parcel.yaml": SHIP})

    assert any(
        text.startswith("intents/ship_parcel.yaml:1:9: no permit names the intent ship_parcel") for text in found
    ), found


@pytest.mark.parametrize(
    "condition",
    [
        'input.decision.intent == "ship_parcel"',
        '"ship_parcel" == input.intent.name',
        'input.decision.intent in {"ship_parcel", "slow_down"}',
        'startswith(input.decision.intent, "ship_")',
    ],
)
def test_an_intent_that_a_permit_names_or_may_allow_is_not(tmp_path: Path, condition: str) -> None:
    files = {
        "intents/ship_parcel.yaml": SHIP,
        "policies/permits/shipping.rego": PERMIT.format(condition=condition),
        "policies/permits/shipping_test.rego": "package setpoint.permits.shipping_test\n\ntest_it if true\n",
    }

    assert not [text for text in warnings_of(tmp_path, files) if "no permit names" in text]


def test_a_permit_for_an_intent_that_does_not_exist_is_warned_about_with_the_nearest_name(tmp_path: Path) -> None:
    permit = PERMIT.format(condition='input.decision.intent == "ship_parcell"')
    files = {"intents/ship_parcel.yaml": SHIP, "policies/permits/shipping.rego": permit}

    found = [text for text in warnings_of(tmp_path, files) if "nothing declares" in text]

    assert found == [
        "policies/permits/shipping.rego:3:1: this permit allows the intent ship_parcell, which nothing declares. "
        "Did you mean ship_parcel?"
    ]


@pytest.mark.parametrize(
    ("condition", "warned"),
    [
        ('input.decision.subject.name == "p-1"  # whatever the intent', True),
        ("true", True),
        ('input.decision.intent != "burn_parcel"', False),
        ('input.decision["intent"] == "ship_parcel"', False),
        ("input.intent.reversible", False),
    ],
)
def test_a_permit_that_is_wider_than_any_catalogue_is_warned_about(
    tmp_path: Path, condition: str, warned: bool
) -> None:
    files = {
        "intents/ship_parcel.yaml": SHIP,
        "policies/permits/shipping.rego": PERMIT.format(condition=condition),
        "policies/permits/shipping_test.rego": "package setpoint.permits.shipping_test\n\ntest_it if true\n",
    }

    found = [text for text in warnings_of(tmp_path, files) if "does not look at the intent" in text]

    assert bool(found) == warned
    assert all(text.startswith("policies/permits/shipping.rego:3:1: ") for text in found)


@pytest.mark.parametrize(
    ("name", "text", "place"),
    [
        ("agents/heavy.yaml", RULE % "data.wieght_kg > 30", "agents/heavy.yaml:4:12"),
        ("rows/parcel_log.yaml", ROW % "data.wieght_kg", "rows/parcel_log.yaml:4:29"),
    ],
)
def test_a_field_that_no_schema_of_its_events_names_is_warned_about(
    tmp_path: Path, name: str, text: str, place: str
) -> None:
    files = {"intents/ship_parcel.yaml": SHIP, "schemas/parcel.scanned.json": SCHEMA, name: text}

    found = [text for text in warnings_of(tmp_path, files) if "no schema" in text]

    assert found == [f"{place}: no schema of parcel.scanned names the field data.wieght_kg. Did you mean weight_kg?"]


def test_a_field_is_not_doubted_where_an_event_type_has_no_schema(tmp_path: Path) -> None:
    files = {"intents/ship_parcel.yaml": SHIP, "agents/heavy.yaml": RULE % "data.wieght_kg > 30"}

    assert not [text for text in warnings_of(tmp_path, files) if "no schema" in text]


@pytest.mark.parametrize("when", ["1 > 2", '"false"'])
def test_a_rule_whose_condition_is_never_true_is_warned_about(tmp_path: Path, when: str) -> None:
    files = {"intents/ship_parcel.yaml": SHIP, "agents/heavy.yaml": RULE % when}

    assert [text for text in warnings_of(tmp_path, files) if "heavy never fires" in text]


@pytest.mark.parametrize(
    ("keys", "intent", "warned"),
    [
        ("", "", True),
        ("", "idempotent: true\n", False),
        (
            'reconcile: {url: "http://127.0.0.1:9/{command_id}", done_when: status < 300, absent_when: status > 400}\n',
            "",
            False,
        ),
    ],
    ids=["neither", "idempotent", "reconcile"],
)
def test_an_act_that_nobody_can_look_for_is_warned_about(tmp_path: Path, keys: str, intent: str, warned: bool) -> None:
    executor = 'executor: carrier\nkind: http\nrequest: {url: "http://127.0.0.1:9/{subject}"}\n' + keys
    files = {
        "intents/ship_parcel.yaml": SHIP.replace("dry_run", "carrier") + intent,
        "executors/carrier.yaml": executor,
    }

    found = [text for text in warnings_of(tmp_path, files) if "has no reconcile" in text]

    assert bool(found) == warned
    assert all(text.startswith("intents/ship_parcel.yaml:3:11: ") for text in found)


LIMITED = "intent: slow_down\nsubject_kind: machine\nexecutor: dry_run\nlimits: {fleet_share_max: 0.4%s}\n"
FLEET = 'fleet: presses\nmembers: subject.kind == "machine"\n'


@pytest.mark.parametrize(
    ("limits", "rule", "warned"),
    [("", "", True), (", cooldown: 10s", "", False), ("", "repeat_interval: 10s\n", False)],
    ids=["neither", "cooldown", "repeat_interval"],
)
def test_a_rule_under_a_share_of_a_fleet_that_never_repeats_is_warned_about(
    tmp_path: Path, limits: str, rule: str, warned: bool
) -> None:
    hot = RULE.replace("ship_parcel", "slow_down") % "data.kg > 3" + rule
    files = {"intents/slow_down.yaml": LIMITED % limits, "agents/heavy.yaml": hot, "fleets/presses.yaml": FLEET}

    found = [text for text in warnings_of(tmp_path, files) if "heavy never repeats itself" in text]

    assert bool(found) == warned
    assert all(text.startswith("agents/heavy.yaml:5:19: ") for text in found)
