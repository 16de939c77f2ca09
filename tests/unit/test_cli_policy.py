"""Policies are asked on saved inputs, without a service; what was asked once can be saved."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.builders import NOW_MS, event
from tests.unit.api_world import Loop
from tests.unit.cli_world import Served, served, setpoint


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "orders"
    assert setpoint("init", str(folder), "--example", "orders").exit_code == 0
    return folder


def asked(amount_eur: float | None) -> dict[str, Any]:
    data = {} if amount_eur is None else {"amount_eur": amount_eur}
    return {
        "decision": {
            "agent": "refund_guard",
            "version": "1.0.0",
            "intent": "refund_order",
            "subject": {"kind": "order", "name": "A-1", "id": "order/A-1"},
            "parameters": {},
            "confidence": 1.0,
            "because": "cancelled",
        },
        "intent": {"name": "refund_order", "limits": {}},
        "event": {"type": "order.cancelled", "data": data},
        "rows": {},
        "facts": {"in_flight": 0, "actions_last_10m": 0, "recent_actions": [], "event_age_ms": 0, "ages_ms": {}},
        "lineage": {"hop_count": 0},
    }


@pytest.mark.parametrize(("amount_eur", "answer"), [(80, "allow"), (900, "escalate"), (None, "deny")])
def test_a_saved_input_is_ruled_on_by_the_files_as_they_are(
    workspace: Path, amount_eur: float | None, answer: str
) -> None:
    (workspace / "saved.json").write_text(json.dumps(asked(amount_eur)))

    said = setpoint("policy", "eval", str(workspace / "saved.json"), "-w", str(workspace), "--json")

    assert said.exit_code == 0, said.stderr
    assert json.loads(said.stdout)["answer"] == answer, said.stdout


def test_a_changed_policy_changes_the_ruling_and_an_expectation_makes_it_an_exit_code(workspace: Path) -> None:
    here = ["-w", str(workspace), "--expect", "allow"]
    before = setpoint("policy", "eval", "-", *here, input=json.dumps(asked(900)))
    data = workspace / "policies/data.yaml"
    data.write_text(data.read_text().replace("200", "1000"))
    after = setpoint("policy", "eval", "-", *here, input=json.dumps(asked(900)))

    assert before.exit_code == 1
    assert "the ruling is escalate, and allow was expected" in before.stderr
    assert "big_refund: 900 EUR are more than 200" in before.stdout
    assert after.exit_code == 0, after.stderr


@pytest.mark.parametrize(
    ("text", "complaint"), [("{", "is no JSON"), ("[]", "is no JSON object"), (None, "cannot be read")]
)
def test_what_is_no_input_is_told(workspace: Path, text: str | None, complaint: str) -> None:
    if text is not None:
        (workspace / "saved.json").write_text(text)

    said = setpoint("policy", "eval", str(workspace / "saved.json"), "-w", str(workspace))

    assert said.exit_code == 2
    assert complaint in said.stderr


def test_an_answer_that_does_not_exist_cannot_be_expected(workspace: Path) -> None:
    said = setpoint("policy", "eval", "-", "--expect", "maybe", "-w", str(workspace), input="{}")

    assert said.exit_code == 2
    assert "allow, deny, escalate" in said.stderr


@pytest.fixture
def service() -> Iterator[Served]:
    with served() as running:
        yield running


def test_what_policy_was_asked_can_be_saved(service: Served) -> None:
    said = Loop(answer="deny").feed(event(data={"rss": 500.0}))
    service.record(*said)

    saved = service.setpoint("policy", "input", said[1].lineage.message_id)

    assert saved.exit_code == 0, saved.stderr
    assert json.loads(saved.stdout)["decision"]["intent"] == "restart_service"


def test_where_a_guard_stopped_it_there_is_nothing_to_save(service: Served) -> None:
    said = Loop().feed(event(data={"rss": 500.0}, at_ms=NOW_MS - 600_000))
    service.record(*said)

    saved = service.setpoint("policy", "input", said[1].lineage.message_id)

    assert saved.exit_code == 1
    assert "the guard freshness stopped it before" in saved.stderr
