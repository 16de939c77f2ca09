"""A user's executors in Python, in a real service: what they do comes back, and a bad one harms no other."""

import asyncio
import json
import time
from collections.abc import Sequence
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from control_plane.bootstrap.service import Service
from control_plane.bootstrap.workshop import load_settings, load_workspace
from control_plane.errors import InvalidWorkspace
from control_plane.messages import topics
from control_plane.ports.backbone import Output, Record
from tests.contract.backbone.owners import Changed

EXECUTOR = """
    import time
    from pathlib import Path

    from control_plane.sdk import Attempt, Command, Executor, Found


    class Written(Executor):
        name = "{name}"
        attempt_timeout_s = 0.4
        settle_s = 0.0

        async def execute(self, command: Command) -> Attempt:
            {execute}

        async def reconcile(self, command: Command) -> Found:
            return Found(state="done", detail="it is there")
    """
BEHAVIOURS = {
    "notes": 'Path({out!r}).write_text(command.lineage.message_id); return Attempt(result="succeeded", detail="noted")',
    "blocks": "time.sleep(2)",
    "raises": 'raise RuntimeError("a bug")',
    "babbles": 'return "well done"',
}
PERMIT = """
    package setpoint.permits.trying

    allow contains {"code": "trying", "msg": "this is a trial"} if {
        input.decision.subject.kind == "lamp"
        input.decision.intent in {"notes", "blocks", "raises", "babbles"}
    }
    """
PERMIT_TEST = """
    package setpoint.permits.trying_test

    import data.setpoint.permits.trying

    test_allows if count(trying.allow) == 1 with input as {"decision": {"intent": "notes", "subject": {"kind": "lamp"}}}
    """


def write(root: Path) -> Path:
    """One intent, one rule and one executor for each behaviour."""
    files = {"setpoint.yaml": "apiVersion: setpoint/v1\n", "policies/permits/trying.rego": PERMIT}
    files["policies/permits/trying_test.rego"] = PERMIT_TEST
    for name, execute in BEHAVIOURS.items():
        body = execute.format(out=str(root / "noted"))
        files[f"executors/{name}.py"] = EXECUTOR.format(name=name, execute=body)
        files[f"intents/{name}.yaml"] = f"intent: {name}\nsubject_kind: lamp\nexecutor: {name}\n"
        files[f"agents/{name}.yaml"] = (
            f"rule: {name}_rule\nversion: 1.0.0\non: lamp.{name}\nwhen: data.go == true\n"
            f"propose: {{intent: {name}, because: a trial}}\n"
        )
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(dedent(text).lstrip("\n"))
    return root


class Outcomes(Changed):
    """What comes back on `events.v1`."""

    def __init__(self) -> None:
        super().__init__()
        self.by_intent: dict[str, dict[str, Any]] = {}

    async def take(self, topic: str, partition: int, records: Sequence[Record]) -> None:
        for record in records:
            event = json.loads(record.value)
            if event["type"].startswith("command."):
                self.by_intent[event["data"]["intent"]] = event["data"]
        self.changed()


def asking(name: str) -> Output:
    event = {
        "specversion": "1.0",
        "id": name,
        "source": "test",
        "type": f"lamp.{name}",
        "subject": f"lamp/{name}",
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "data": {"go": True},
    }
    return Output(topics.EVENTS, event["subject"].encode(), json.dumps(event).encode())  # type: ignore[attr-defined]


def service_of(root: Path) -> Service:
    workspace = load_workspace(root)
    assert [str(warning) for warning in workspace.warnings] == []
    return Service(load_settings(root, {}, {"listen": "127.0.0.1:0"}, workspace), workspace, ("loop", "executors"))


async def test_python_executors_act_and_those_that_block_raise_or_babble_are_contained(tmp_path: Path) -> None:
    service, outcomes = service_of(write(tmp_path)), Outcomes()
    service.backbone.join("watch", [topics.EVENTS], outcomes)
    await service.start()
    try:
        await service.backbone.append([asking(name) for name in ("blocks", "raises", "babbles", "notes")])
        await outcomes.until(lambda: len(outcomes.by_intent) == len(BEHAVIOURS))
    finally:
        await service.stop()

    said = {name: (found["status"], found["detail"]) for name, found in outcomes.by_intent.items()}
    assert said["notes"] == ("succeeded", "noted")
    assert (tmp_path / "noted").read_text() == outcomes.by_intent["notes"]["command_id"]
    # What may have been done was looked at, and found.
    assert said["raises"] == said["babbles"] == ("succeeded", "it is there")
    # One that blocks is not asked about before it has come back; meanwhile the others were done.
    assert said["blocks"] == ("succeeded", "it is there")
    assert list(outcomes.by_intent)[-1] == "blocks"


async def test_a_secret_that_is_missing_stops_the_start_with_the_cure(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "executors/shop.yaml").write_text(
        "executor: shop\nkind: http\nrequest: {url: 'http://h/', headers_env: {X-A: NOT_SET_A, X-B: NOT_SET_B}}\n"
    )
    workspace = load_workspace(tmp_path)
    service = Service(load_settings(tmp_path, {}, {}, workspace), workspace, ("loop", "executors"))

    with pytest.raises(InvalidWorkspace) as raised:
        await service.start()

    assert [str(flaw) for flaw in raised.value.flaws] == [
        f"executors/shop.yaml: executor shop: request.headers_env.X-{which}: the environment has no NOT_SET_{which}. "
        f"Set NOT_SET_{which} before the start."
        for which in "AB"
    ]
    assert len(workspace.warnings) == 2
    assert asyncio.all_tasks() == {asyncio.current_task()}
