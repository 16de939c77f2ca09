"""`setpoint apply` against a whole service: shown first, checked twice, all or nothing, in force without a restart."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from control_plane.catalogue import ControlItem
from tests.unit.cli_world import KEY, process
from tests.unit.service_world import BARE, PATIENCE_S, Running, running, written

pytestmark = pytest.mark.timeout(300)
GUARD, ROW, PERMIT = "agents/heat_guard.yaml", "rows/heat.yaml", "policies/permits/slowing.rego"
COOLER = BARE[GUARD].replace("90.0", "60.0")
WEBHOOK = """\
trigger: plant
kind: webhook
event: {type: TYPE, id: item.id, subject: '"machine/" + item.machine', data: {celsius: item.celsius}}
"""
WATCHED = """\
trigger: inbox
kind: folder
path: inbox
interval: 100ms
event: {type: machine.measured, subject: '"machine/" + item.machine', data: {celsius: item.celsius}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return written(tmp_path / "plant")


@pytest.fixture
def up(folder: Path) -> Iterator[Running]:
    with running(folder) as service:
        yield service


def applied(service: Running, *options: str) -> dict[str, Any]:
    result = service.setpoint("apply", str(service.folder), "--json", *options)
    assert result.exit_code == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def in_force(service: Running) -> dict[str, Any]:
    with httpx.Client(base_url=service.url, headers={"Authorization": f"Bearer {KEY}"}, trust_env=False) as http:
        found: dict[str, Any] = http.get("/v1/controls").json()
        return found


def heat(service: Running, machine: str, celsius: float, event_id: str) -> None:
    data = json.dumps({"celsius": celsius})
    sent = ["--type", "machine.measured", "--subject", f"machine/{machine}", "--data", data, "--id", event_id]
    assert service.setpoint("events", "send", *sent).exit_code == 0


def commands(service: Running, count: int) -> list[dict[str, Any]]:
    """The commands with their outcomes, once there are so many."""
    ends = time.monotonic() + PATIENCE_S
    while True:
        found: list[dict[str, Any]] = json.loads(service.setpoint("commands", "list", "--json").stdout)
        if len(found) >= count and all(item["outcome"] for item in found):
            return found
        assert time.monotonic() < ends, found
        time.sleep(0.05)


def test_a_folder_that_says_what_is_in_force_changes_nothing(up: Running) -> None:
    before = in_force(up)["revision"]

    found = applied(up)

    assert (found["applied"], found["changes"], found["revision"]) == (False, [], before)


def test_a_comment_or_another_order_of_keys_makes_no_new_version(up: Running) -> None:
    lines = BARE[GUARD].splitlines()
    written(up.folder, **{GUARD: "# why it is here\n" + "\n".join([*lines[1:], lines[0]]) + "\n"})

    assert applied(up)["changes"] == []


def test_what_would_change_is_shown_and_a_dry_run_leaves_it_at_that(up: Running) -> None:
    before = in_force(up)["revision"]
    written(up.folder, **{GUARD: COOLER})

    shown = up.setpoint("apply", str(up.folder), "--dry-run")

    assert shown.exit_code == 0
    assert "~ rule heat_guard" in shown.stdout
    assert "    -when: data.celsius > 90.0" in shown.stdout
    assert "    +when: data.celsius > 60.0" in shown.stdout
    assert "differs from what is in force: 1 changed" in shown.stdout
    assert "nothing was changed" in shown.stdout
    assert in_force(up)["revision"] == before


def test_a_changed_rule_and_a_new_type_take_force_without_a_restart_and_the_log_replays(up: Running) -> None:
    heat(up, "m1", 70.0, "e-1")
    written(
        up.folder,
        **{GUARD: COOLER, "rows/noise.yaml": "row: noise\non: [machine.heard]\nfields: {n: {count: {window: 1m}}}\n"},
    )

    found = applied(up)
    heat(up, "m2", 70.0, "e-2")
    [command] = commands(up, 1)
    heard = up.setpoint("events", "send", "--type", "machine.heard", "--subject", "machine/m2")

    assert [(change["kind"], change["name"], change["how"]) for change in found["changes"]] == [
        ("row", "noise", "added"),
        ("rule", "heat_guard", "changed"),
    ]
    assert found["adopted_after_s"] > 0
    assert set(in_force(up)["partitions"].values()) == {found["revision"]}
    assert (command["subject"], command["controls_revision"]) == ("machine/m2", found["revision"])
    assert heard.exit_code == 0, heard.stderr
    said, _ = process("replay", "--data", str(up.folder / "data")).communicate(timeout=PATIENCE_S)
    assert said.splitlines()[-1] == "equal"


def test_a_folder_with_flaws_is_told_all_of_them_and_nothing_is_sent(up: Running) -> None:
    before = in_force(up)["revision"]
    written(up.folder, **{GUARD: COOLER.replace("slow_down", "slow_dwn"), ROW: "row: heat\non: 7\nfields: {}\n"})

    result = up.setpoint("apply", str(up.folder))

    assert (result.exit_code, result.stdout) == (1, "")
    assert "agents/heat_guard.yaml:5" in result.stderr
    assert "rows/heat.yaml:2" in result.stderr
    assert in_force(up)["revision"] == before
    heat(up, "m-1", 95.0, "still-too-hot")
    assert len(commands(up, 1)) == 1, "it goes on by the last good version"


def test_a_service_believes_no_client_and_refuses_one_bad_item_with_all_the_others(up: Running) -> None:
    before = in_force(up)
    items = [item for item in before["items"] if item["name"] != "heat_guard"]
    bad = {"kind": "rule", "name": "heat_guard", "body": json.dumps({"rule": "heat_guard", "version": "1", "on": "x"})}
    good = {
        "kind": "row",
        "name": "noise",
        "body": '{"fields":{"n":{"count":{"window":"1m"}}},"on":["x"],"row":"noise"}',
    }

    with httpx.Client(base_url=up.url, headers={"Authorization": f"Bearer {KEY}"}, trust_env=False) as http:
        answer = http.put(
            "/v1/controls", json={"items": [*items, bad, good]}, headers={"If-Match": f'"{before["revision"]}"'}
        )

    assert answer.status_code == 422
    assert answer.json()["flaws"][0]["file"] == "agents/heat_guard.yaml"
    assert in_force(up) == before


def test_who_comes_second_with_an_older_comparison_changes_nothing(up: Running) -> None:
    older = in_force(up)
    written(up.folder, **{GUARD: COOLER})
    newer = applied(up)["revision"]

    with httpx.Client(base_url=up.url, headers={"Authorization": f"Bearer {KEY}"}, trust_env=False) as http:
        answer = http.put(
            "/v1/controls", json={"items": older["items"][:1]}, headers={"If-Match": f'"{older["revision"]}"'}
        )

    assert (answer.status_code, answer.headers["ETag"]) == (412, f'"{newer}"')
    assert in_force(up)["revision"] == newer


def test_settings_that_wait_for_a_restart_are_named(up: Running) -> None:
    written(up.folder, **{"setpoint.yaml": BARE["setpoint.yaml"] + "durability: fsync\n"})

    result = up.setpoint("apply", str(up.folder))

    assert result.exit_code == 0
    assert "takes force only at the next start: the setting durability" in result.stdout
    assert applied(up)["at_next_start"] == ["setting durability"]


def test_a_new_executor_carries_out_what_its_intent_says_from_then_on(up: Running) -> None:
    intent = BARE["intents/slow_down.yaml"].replace("dry_run", "lever")
    lever = 'executor: lever\nkind: command\nargv: [touch, "pulled-{subject.name}"]\ncwd: .\n'
    written(up.folder, **{"intents/slow_down.yaml": intent, "executors/lever.yaml": lever})

    applied(up)
    heat(up, "m1", 99.0, "e-1")
    [command] = commands(up, 1)

    assert (command["executor"], command["outcome"]["status"]) == ("lever", "succeeded"), command
    assert (up.folder / "pulled-m1").exists()


def test_a_webhook_comes_changes_and_goes(up: Running) -> None:
    def sent() -> int:
        with httpx.Client(base_url=up.url, headers={"Authorization": f"Bearer {KEY}"}, trust_env=False) as http:
            return http.post("/hooks/plant", json={"id": "a", "machine": "m1", "celsius": 99.0}).status_code

    written(up.folder, **{"triggers/plant.yaml": WEBHOOK.replace("TYPE", "machine.measured")})
    assert sent() == 404
    applied(up)
    assert sent() == 202
    commands(up, 1)

    written(up.folder, **{"triggers/plant.yaml": None})
    assert [change["how"] for change in applied(up)["changes"]] == ["removed"]
    assert sent() == 404


def test_a_trigger_that_runs_goes_on_where_it_was_when_it_changes(up: Running) -> None:
    inbox = up.folder / "inbox"
    inbox.mkdir()
    written(up.folder, **{"triggers/inbox.yaml": WATCHED})
    assert applied(up)["applied"]
    (inbox / "a.jsonl").write_text('{"machine": "m1", "celsius": 99.0}\n')
    commands(up, 1)

    written(up.folder, **{"triggers/inbox.yaml": WATCHED.replace("100ms", "150ms")})
    assert applied(up)["applied"]
    (inbox / "b.jsonl").write_text('{"machine": "m2", "celsius": 99.0}\n')

    assert sorted(item["subject"] for item in commands(up, 2)) == ["machine/m1", "machine/m2"]


def test_what_cannot_be_opened_refuses_the_whole_change(up: Running) -> None:
    before = in_force(up)["revision"]
    hook = WEBHOOK.replace("TYPE", "machine.measured") + "auth: {bearer_env: NOT_SET_ANYWHERE}\n"
    written(up.folder, **{GUARD: COOLER, "triggers/plant.yaml": hook})

    result = up.setpoint("apply", str(up.folder))

    assert result.exit_code == 1
    assert "NOT_SET_ANYWHERE is not set" in result.stderr
    assert in_force(up)["revision"] == before


def test_a_restart_keeps_what_was_applied_from_elsewhere_and_says_so(folder: Path, tmp_path: Path) -> None:
    other = written(tmp_path / "other", **{GUARD: COOLER})
    with running(folder) as service:
        assert service.setpoint("apply", str(other)).exit_code == 0
        newer = in_force(service)["revision"]

    with running(folder) as service:
        beginning = service.service.beginning
        assert beginning is not None
        assert (in_force(service)["revision"], beginning.changes) == (newer, ())
        assert [change.title for change in beginning.overtaken] == ["rule heat_guard"]
        heat(service, "m1", 70.0, "e-1")
        commands(service, 1)

    written(folder, **{GUARD: BARE[GUARD].replace("90.0", "95.0")})
    with running(folder) as service:
        beginning = service.service.beginning
        assert beginning is not None
        assert [(change.title, change.how) for change in beginning.changes] == [("rule heat_guard", "changed")]
        assert (beginning.before, beginning.overtaken) == (newer, ())
        assert in_force(service)["adopted"]


def test_items_name_themselves(up: Running) -> None:
    for item in in_force(up)["items"]:
        assert ControlItem(item["kind"], item["name"], item["body"]).revision == item["revision"]


def test_a_schema_that_takes_less_is_shown_and_refused_before_anything_is_sent(up: Running) -> None:
    path = "schemas/machine.measured.json"
    written(up.folder, **{path: '{"properties": {"celsius": {"type": "number"}}}'})
    before = applied(up)["revision"]

    written(up.folder, **{path: '{"properties": {"celsius": {"type": "number", "maximum": 99}}}'})
    shown, refused = (up.setpoint("apply", str(up.folder), *options) for options in (("--dry-run",), ()))

    assert (shown.exit_code, refused.exit_code) == (1, 1)
    assert "~ schema machine.measured" in shown.stdout
    assert f"{path}: celsius: the upper bound is lower than it was" in shown.stderr
    assert "machine.measured_v2" in refused.stderr
    assert in_force(up)["revision"] == before
