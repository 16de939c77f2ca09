"""A whole service whose decisions a real OPA rules on: policies change, OPA dies and comes back, nothing is restarted."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.opa_world import OpaProcess
from tests.real_parts import free_port
from tests.unit.service_world import BARE, Running, running, written

pytestmark = pytest.mark.opa

PATIENCE_S = 30.0
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
        """The verdict on the next machine that is too hot."""
        self._machines += 1
        subject = f"machine/m{self._machines}"
        event = {
            "specversion": "1.0",
            "id": f"e{self._machines}",
            "source": "test",
            "type": "machine.measured",
            "subject": subject,
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "data": {"celsius": 99.0},
        }
        sent = self.service.setpoint("events", "send", "-", input=json.dumps(event))
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

    def soon(self, expected: tuple[str, str]) -> None:
        """A verdict like this comes, by itself."""
        waited(lambda: self.code() == expected)


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

    written(
        ruled.service.folder,
        **{
            "setpoint.yaml": (ruled.service.folder / "setpoint.yaml").read_text(),
            "policies/guardrails/slowly.rego": GUARD,
            "policies/guardrails/slowly_test.rego": GUARD_TEST,
        },
    )
    applied = ruled.service.setpoint("apply", str(ruled.service.folder))
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
