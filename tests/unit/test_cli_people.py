"""People at the command line, against a whole service: propose under the same rules, cancel what has not begun."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli_world import process, setpoint
from tests.unit.service_world import PATIENCE_S, Running, running, written

pytestmark = pytest.mark.timeout(300)
HOLD_S = 1.5
INTENT_OF_ITS_OWN = "intent: hold\nsubject_kind: machine\nexecutor: sleeper\n"
SLEEPER = f'executor: sleeper\nkind: command\nargv: [sleep, "{HOLD_S}"]\n'
PERMIT = """\
package setpoint.permits.holding

allow contains {"code": "holding", "msg": "holding is harmless"} if input.decision.intent == "hold"
"""


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    more = {
        "intents/hold.yaml": INTENT_OF_ITS_OWN,
        "executors/sleeper.yaml": SLEEPER,
        "policies/permits/holding.rego": PERMIT,
    }
    with running(written(tmp_path_factory.mktemp("people") / "plant", **more)) as service:
        yield service


def proposed(service: Running, *arguments: str) -> dict[str, Any]:
    result = service.setpoint("propose", *arguments, "--json")
    assert result.exit_code in (0, 1), result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def outcome_of(service: Running, command_id: str) -> dict[str, Any]:
    ends = time.monotonic() + PATIENCE_S
    while True:
        found: dict[str, Any] = json.loads(service.setpoint("commands", "show", command_id, "--json").stdout)
        if found["outcome"]:
            return dict(found["outcome"])
        assert time.monotonic() < ends, found
        time.sleep(0.05)


def test_what_policy_allows_a_person_is_done_and_the_verdict_is_shown_with_its_reasons(up: Running) -> None:
    result = up.setpoint("propose", "slow_down", "machine/a1", "--set", "percent=30", "--because", "it squeaks")

    assert result.exit_code == 0, result.stderr
    assert "allow by policy: slow_down on machine/a1" in result.stdout
    assert "slowing: slowing down is harmless (permits.slowing)" in result.stdout
    command_id = result.stdout.splitlines()[-1].removeprefix("command ")
    shown = json.loads(up.setpoint("commands", "show", command_id, "--json").stdout)
    assert (shown["agent"], shown["parameters"]) == ("person/admin", {"percent": 30})
    assert outcome_of(up, command_id)["status"] == "succeeded"


def test_what_policy_denies_a_person_is_not_done_and_ends_with_one(up: Running) -> None:
    result = up.setpoint("propose", "slow_down", "machine/a2", "--set", "percent=100")

    assert result.exit_code == 1
    assert "deny by policy" in result.stdout
    assert "no_permit: no permit allows this" in result.stdout
    assert "command " not in result.stdout


def test_what_must_still_hold_is_judged_when_it_is_ruled_on(up: Running) -> None:
    found = proposed(up, "slow_down", "machine/a3", "--still-when", "rows.heat.celsius > 50.0")

    assert found["verdict"]["reasons"][0]["code"] == "no_longer_holds"


def test_the_same_key_again_gives_the_same_decision(up: Running) -> None:
    first = proposed(up, "slow_down", "machine/a4", "--idempotency-key", "ticket-1")
    again = proposed(up, "slow_down", "machine/a4", "--idempotency-key", "ticket-1")

    assert (first["id"], first["verdict"]) == (again["id"], again["verdict"])


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["slow_down", "machine/a5", "--set", "percent=fast"], 1, "parameters.percent"),
        (["slow_down", "machine/a5", "--set", "percnt=5"], 1, "percnt"),
        (["slow_dwn", "machine/a5"], 1, "Did you mean slow_down?"),
        (["slow_down", "a5"], 1, "subject"),
        (["slow_down", "machine/a5", "--set", "percent"], 2, "no KEY=VALUE"),
        (["slow_down", "machine/a5", "--set", "a=1", "--set", "a=2"], 2, "set twice"),
        (["slow_down", "machine/a5", "--set", "a=1", "--set", "a.b=2"], 2, "has a value already"),
    ],
)
def test_what_is_wrong_in_a_proposal_is_said_before_anything_is_ruled_on(
    up: Running, arguments: list[str], code: int, said: str
) -> None:
    result = up.setpoint("propose", *arguments)

    assert (result.exit_code, result.stdout) == (code, "")
    assert said in result.stderr


def test_a_command_that_waits_is_cancelled_and_one_that_has_begun_is_not(up: Running) -> None:
    running_one = proposed(up, "hold", "machine/b1")["command"]["id"]
    waiting_one = proposed(up, "slow_down", "machine/b1")["command"]["id"]

    too_late = up.setpoint("commands", "cancel", running_one)
    in_time = up.setpoint("commands", "cancel", waiting_one, "--because", "wrong machine")

    assert (too_late.exit_code, too_late.stdout) == (1, "")
    assert "has begun; it was not cancelled" in too_late.stderr
    assert in_time.exit_code == 0, in_time.stderr
    assert outcome_of(up, waiting_one)["status"] == "refused"
    assert outcome_of(up, waiting_one)["detail"] == "cancelled by person/admin: wrong machine"
    assert outcome_of(up, running_one)["status"] == "succeeded"
    told = up.setpoint("commands", "cancel", waiting_one)
    assert told.stdout == "cancelled: cancelled by person/admin: wrong machine\n"


def test_a_command_that_is_over_or_unknown_cannot_be_cancelled(up: Running) -> None:
    over = proposed(up, "slow_down", "machine/b2")["command"]["id"]
    outcome_of(up, over)

    assert "is over: succeeded" in up.setpoint("commands", "cancel", over).stderr
    unknown = up.setpoint("commands", "cancel", "nothing")
    assert (unknown.exit_code, "no command 'nothing'" in unknown.stderr) == (1, True)


def test_without_a_service_it_is_said_that_none_can_be_reached(tmp_path: Path) -> None:
    known = {"SETPOINT_URL": "http://127.0.0.1:9", "SETPOINT_API_KEY": "a-key-for-tests-0123456789"}

    assert setpoint("propose", "slow_down", "machine/m1", **known).exit_code == 3
    assert setpoint("commands", "cancel", "x", **known).exit_code == 3
    assert setpoint("apply", str(written(tmp_path / "w")), **known).exit_code == 3


def test_what_people_did_replays(up: Running) -> None:
    proposed(up, "slow_down", "machine/c1")

    said, _ = process("replay", "--data", str(up.folder / "data")).communicate(timeout=PATIENCE_S)

    assert said.splitlines()[-1] == "equal"
