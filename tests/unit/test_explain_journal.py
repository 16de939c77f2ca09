"""A decision of an agent that asked a model is explained with what it asked and what it was answered."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from control_plane.messages import Decision, Event, Invocation, Learnt, Usage, topics
from control_plane.messages.wire import encode
from control_plane.ports.backbone import Record
from control_plane.recorder import recorded
from tests.builders import NOW_MS
from tests.unit.api_world import MemoryAudit
from tests.unit.cli_world import Served, served
from tests.unit.test_slow_agents import a_context


@pytest.fixture
def service() -> Iterator[Served]:
    with served() as found:
        yield found


def keep(service: Served, *messages: Invocation | Learnt) -> None:
    audit = service.world.audit
    assert isinstance(audit, MemoryAudit)
    for message in messages:
        place: dict[str, Any] = {"topic": topics.TOOLS, "partition": 2, "offset": len(audit.kept)}
        record = Record(**place, key=b"", value=encode(message), recorded_ms=NOW_MS)
        service.do(lambda record=record: audit.append([recorded(record)]))


def decided(service: Served, *, answered: bool = True, other: bool = False) -> Decision:
    context = a_context(agent="advisor")
    event: Event = context.event
    decision = context.propose("restart_service", because="it is slow", prompt_hash="00112233aabbccdd")
    about: dict[str, Any] = {
        "subject": context.subject.id,
        "occurred_ms": NOW_MS,
        "context_id": "another" if other else context.lineage.message_id,
        "agent": "advisor",
        "agent_version": "1.0.0",
        "tool": "openai",
    }
    asked = Invocation(
        lineage=context.lineage.child("tool/0"),
        request={"model": "small", "url": "http://127.0.0.1/v1"},
        at_most=Usage(),
        **about,
    )
    learnt = Learnt(
        lineage=asked.lineage.child("result"),
        invocation_id=asked.lineage.message_id,
        answer={"content": "restart it"},
        usage=Usage(tokens_in=100, tokens_out=20, cost_micros=27),
        took_ms=812,
        **about,
    )
    service.record(event, decision)
    keep(service, asked, *([learnt] if answered else []))
    return decision


def test_the_journal_stands_between_what_was_known_and_what_was_decided(service: Served) -> None:
    decision = decided(service)

    shown = service.setpoint("explain", decision.lineage.message_id)

    assert shown.exit_code == 0, shown.stderr
    lines = shown.stdout.splitlines()
    at = next(n for n, line in enumerate(lines) if line.startswith("asked"))
    assert lines[at] == "asked     openai small http://127.0.0.1/v1, tools.v1/2 offset 2"
    assert lines[at + 1] == "learnt    restart it (812 ms, 120 tokens, 0.000027 spent)"
    assert lines[at + 2].startswith("decision  advisor")
    assert "prompt 00112233aabbccdd" in shown.stdout


def test_a_question_without_an_answer_says_so(service: Served) -> None:
    decision = decided(service, answered=False)

    shown = service.setpoint("explain", decision.lineage.message_id)

    assert "its answer is not recorded" in shown.stdout


def test_what_was_asked_because_of_another_context_is_not_shown(service: Served) -> None:
    decision = decided(service, other=True)

    shown = service.setpoint("explain", decision.lineage.message_id, "--json")

    assert json.loads(shown.stdout)["journal"] == []
