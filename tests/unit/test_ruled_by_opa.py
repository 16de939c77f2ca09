"""A whole service that a real OPA rules for: policies change, OPA dies and comes back, and nothing is restarted."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import Result

from tests.opa_world import OpaProcess
from tests.real_parts import free_port
from tests.unit.cli_world import KEY, process
from tests.unit.service_world import BARE, Running, running, written

pytestmark = pytest.mark.opa

PATIENCE_S = 30.0
CHANGES = 6
LOAD_INTERVAL_S = 0.01
CLOUDEVENT = {"Content-Type": "application/cloudevents+json"}
GUARD = """\
package setpoint.guardrails.slowly

deny contains {"code": "not_now", "msg": "nothing is slowed down today"} if input.decision.intent == "slow_down"
"""
GUARD_TEST = """\
package setpoint.guardrails.slowly_test

import data.setpoint.guardrails.slowly

test_denied if count(slowly.deny) == 1 with input as {"decision": {"intent": "slow_down"}}
"""


class Ruled:
    """A service, the OPA that it asks, and what is decided on the hot machines that it is told of."""

    def __init__(self, service: Running, opa: OpaProcess) -> None:
        self.service = service
        self.opa = opa
        self._machines = 0

    def verdict(self) -> dict[str, Any]:
        """The verdict on the next machine that is too hot, and not one that this machine was too busy for."""

        def timely() -> dict[str, Any] | None:
            verdict = self._verdict()
            return None if is_late(verdict) else verdict

        verdict: dict[str, Any] = waited(timely)
        return verdict

    def _verdict(self) -> dict[str, Any]:
        self._machines += 1
        subject = f"machine/m{self._machines}"
        sent = self.service.setpoint("events", "send", "-", input=json.dumps(hot(f"m{self._machines}")))
        assert sent.exit_code == 0, sent.output

        def decided() -> Any:
            listed = self.service.setpoint("decisions", "list", "--subject", subject, "--json")
            assert listed.exit_code == 0, listed.output
            found = json.loads(listed.output)
            items = found["items"] if isinstance(found, dict) else found
            return items[0]["verdict"] if items else None

        verdict: dict[str, Any] = waited(decided)
        return verdict

    def code(self) -> tuple[str, str]:
        """Answer and first code of the next verdict."""
        verdict = self.verdict()
        return verdict["answer"], verdict["reasons"][0]["code"]

    def get(self, path: str) -> httpx.Response:
        """An answer of the service."""
        return httpx.get(f"{self.service.url}{path}", headers={"Authorization": f"Bearer {KEY}"}, timeout=PATIENCE_S)

    def apply(self, **files: str) -> Result:
        """Put files in force, as they are written."""
        settings = (self.service.folder / "setpoint.yaml").read_text()
        written(self.service.folder, **{"setpoint.yaml": settings, **files})
        return self.service.setpoint("apply", str(self.service.folder))

    def soon(self, expected: tuple[str, str]) -> None:
        """A verdict like this comes, by itself."""
        waited(lambda: self.code() == expected)


class Load(threading.Thread):
    """Hot machines, one after the other."""

    def __init__(self, ruled: Ruled) -> None:
        super().__init__()
        self._ruled = ruled
        self._ended = threading.Event()
        self._sent = 0

    def run(self) -> None:
        """Send until told to stop."""
        with httpx.Client(headers={"Authorization": f"Bearer {KEY}"}, timeout=PATIENCE_S) as client:
            while not self._ended.wait(LOAD_INTERVAL_S):
                answer = client.post(
                    f"{self._ruled.service.url}/v1/events",
                    content=json.dumps(hot(f"load-{self._sent}")),
                    headers=CLOUDEVENT,
                )
                answer.raise_for_status()
                self._sent += 1

    def stop(self) -> None:
        """Send no more."""
        self._ended.set()
        self.join()

    def verdicts(self) -> list[dict[str, Any]]:
        """All verdicts, once there is one for each machine."""
        found: list[dict[str, Any]] = []
        path = "/v1/decisions?limit=100"
        while True:
            page = self._ruled.get(path)
            items = [one for one in page.json()["items"] if one["subject"].startswith("machine/load-")]
            found += [one["verdict"] for one in items if one["verdict"]]
            if "next" not in page.links:
                return found if len(found) == self._sent else []
            path = page.links["next"]["url"].removeprefix(self._ruled.service.url)


def is_late(verdict: dict[str, Any]) -> bool:
    """Whether OPA was slower than its 50 ms, which says something about the machine and nothing about policies."""
    return "gave no answer within" in (verdict["problem"] or "")


def hot(name: str) -> dict[str, Any]:
    """A machine that is too hot, as a CloudEvent."""
    return {
        "specversion": "1.0",
        "id": f"e-{name}",
        "source": "test",
        "type": "machine.measured",
        "subject": f"machine/{name}",
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "data": {"celsius": 99.0},
    }


def waited(look: Callable[[], Any]) -> Any:
    until = time.monotonic() + PATIENCE_S
    while not (found := look()):
        assert time.monotonic() < until, "it did not come about in time"
        time.sleep(0.05)
    return found


@pytest.fixture
def ruled(tmp_path: Path, opa_program: Path) -> Iterator[Ruled]:
    address = f"http://127.0.0.1:{free_port()}"
    folder = written(
        tmp_path / "loop",
        **{"setpoint.yaml": f"{BARE['setpoint.yaml']}policy_engine: {address}\npolicies: {{builtin: false}}\n"},
    )
    with running(folder) as service:
        config = service.setpoint("opa", "config", "-w", str(folder))
        assert config.exit_code == 0, config.output
        opa = OpaProcess(opa_program, tmp_path / "opa", config.output, address)
        yield Ruled(service, opa)
        opa.kill()


def test_policies_change_and_opa_dies_and_comes_back_without_a_restart(ruled: Ruled) -> None:
    assert ruled.code() == ("deny", "no_ruling")

    ruled.opa.start()
    ruled.soon(("allow", "slowing"))
    first = ruled.verdict()

    applied = ruled.apply(
        **{"policies/guardrails/slowly.rego": GUARD, "policies/guardrails/slowly_test.rego": GUARD_TEST}
    )
    assert applied.exit_code == 0, applied.output
    second = ruled.verdict()
    assert (second["answer"], second["reasons"][0]["code"]) == ("deny", "not_now")
    assert second["policy_revision"] not in ("", first["policy_revision"])

    ruled.opa.kill()
    refused = ruled.verdict()
    assert (refused["answer"], refused["reasons"][0]["code"]) == ("deny", "no_ruling")
    assert "cannot be reached" in refused["reasons"][0]["msg"]

    ruled.opa.start()
    ruled.soon(("deny", "not_now"))


def test_the_service_says_who_runs_what_and_when_nobody_rules(ruled: Ruled) -> None:
    ruled.verdict()
    unready = ruled.get("/health/ready")
    assert unready.status_code == 503
    assert "cannot be reached" in unready.json()["detail"]

    ruled.opa.start()
    ruled.soon(("allow", "slowing"))
    revision = ruled.verdict()["policy_revision"]
    listed = ruled.service.setpoint("opa", "list", "--json")
    shown = ruled.service.setpoint("opa", "list", "-o", "wide").output.splitlines()
    metrics = ruled.get("/metrics").text

    assert ruled.get("/health/ready").status_code == 200
    assert listed.exit_code == 0, listed.output
    assert [(one["bundle"], one["current"]) for one in json.loads(listed.output)["opas"]] == [(revision, True)]
    assert shown[0].split() == ["OPA", "VERSION", "HOLDS", "CURRENT", "TOLD", "AT", "PROBLEM"]
    assert revision in shown[1]
    assert f'bundle="{revision}",current="true"' in metrics
    assert 'setpoint_opa_questions_total{end="ruled"}' in metrics
    assert "setpoint_opa_away 0.0" in metrics


def test_what_opa_refuses_is_not_put_in_force(ruled: Ruled) -> None:
    ruled.opa.start()
    ruled.soon(("allow", "slowing"))
    before = ruled.verdict()["policy_revision"]
    wrong = GUARD.replace('input.decision.intent == "slow_down"', "count(7) > 1")

    applied = ruled.apply(**{"policies/guardrails/slowly.rego": wrong})

    assert applied.exit_code == 1, applied.output
    assert "OPA refuses them: guardrails/slowly:3: count: invalid argument(s)" in applied.output
    verdict = ruled.verdict()
    assert (verdict["answer"], verdict["policy_revision"]) == ("allow", before)
    listed = json.loads(ruled.service.setpoint("opa", "list", "--json").output)
    assert listed["offered"] == before


def test_without_an_opa_other_policies_are_not_put_in_force_and_the_rest_is(ruled: Ruled) -> None:
    assert ruled.code() == ("deny", "no_ruling")

    policies = ruled.apply(
        **{"policies/guardrails/slowly.rego": GUARD, "policies/guardrails/slowly_test.rego": GUARD_TEST}
    )

    assert policies.exit_code == 3, policies.output
    assert "They were not put in force" in policies.output
    for name in ("slowly", "slowly_test"):
        ruled.service.folder.joinpath(f"policies/guardrails/{name}.rego").unlink()
    rule = BARE["agents/heat_guard.yaml"].replace("90.0", "95.0").replace("1.0.0", "1.1.0")
    assert ruled.apply(**{"agents/heat_guard.yaml": rule}).exit_code == 0


def test_policies_change_under_load_and_nobody_is_left_without_a_ruling(ruled: Ruled) -> None:
    ruled.opa.start()
    ruled.soon(("allow", "slowing"))
    loading = Load(ruled)
    loading.start()
    revisions = {}
    for n in range(CHANGES):
        permit = BARE["policies/permits/slowing.rego"].replace('"slowing"', f'"version_{n}"')
        applied = ruled.apply(**{"policies/permits/slowing.rego": permit})
        assert applied.exit_code == 0, applied.output
        revisions[ruled.verdict()["policy_revision"]] = f"version_{n}"
    loading.stop()

    verdicts = [verdict for verdict in waited(loading.verdicts) if not is_late(verdict)]
    assert len(revisions) == CHANGES
    assert {verdict["answer"] for verdict in verdicts} == {"allow"}
    assert {verdict["problem"] for verdict in verdicts} == {None}
    seen = {(verdict["policy_revision"], verdict["reasons"][0]["code"]) for verdict in verdicts}
    assert {pair for pair in seen if pair[1] != "slowing"} <= set(revisions.items())
    assert len(seen) > CHANGES / 2


def test_what_opa_ruled_is_the_same_again_in_a_replay_without_it(ruled: Ruled) -> None:
    assert ruled.code() == ("deny", "no_ruling")
    ruled.opa.start()
    ruled.soon(("allow", "slowing"))
    applied = ruled.apply(
        **{"policies/guardrails/slowly.rego": GUARD, "policies/guardrails/slowly_test.rego": GUARD_TEST}
    )
    assert applied.exit_code == 0, applied.output
    ruled.soon(("deny", "not_now"))
    ruled.opa.kill()

    # In a process of its own: what regorus makes belongs to the thread that made it.
    replay = process("replay", "--data", str(ruled.service.folder / "data"), "--json")
    said, complaint = replay.communicate(timeout=PATIENCE_S)

    assert replay.returncode == 0, said + complaint
    assert json.loads(said)["equal"] is True
