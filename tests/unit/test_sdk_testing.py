"""The loop that authors test their agents on: it shows what happened and hides no mistake."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from control_plane.errors import InvalidWorkspace
from control_plane.sdk import Agent, Context, Decision, Expectation, SlowAgent
from control_plane.sdk.testing import Loop, Refused, deny

WEB = "service/web-1"
HEALTH = """
row: health
on: [service.measured]
fields:
  rss: {last: data.rss}
"""
GUARD = """
rule: memory_guard
version: 1.0.0
on: service.measured
when: data.rss > 400.0
propose: {intent: restart_service, because: "rss {data.rss}"}
expects: {where: "rows.health.rss < 200.0", within: 10s}
---
intent: restart_service
subject_kind: service
executor: dry_run
limits: {cooldown: 30s}
"""


class Restless(Agent):
    name = "restless"
    version = "1.0.0"
    listens_to = ("service.measured",)
    intents = ("restart_service",)

    def decide(self, context: Context) -> Sequence[Decision]:
        if context.event.data.get("broken"):
            raise RuntimeError("out of order")
        return [context.propose("restart_service", because="always")]


class Thinker(SlowAgent):
    name = "thinker"
    version = "1.0.0"
    listens_to = ("service.measured",)
    intents = ("restart_service",)

    async def decide(self, context: Context) -> Sequence[Decision]:
        if context.event.data.get("broken"):
            raise RuntimeError("out of thoughts")
        expects = Expectation(where="rows.health.rss < 200.0", within_ms=1000)
        return [context.propose("restart_service", because="on reflection", expects=expects)]


def test_a_rule_goes_the_whole_way_to_its_effect() -> None:
    loop = Loop(declarations=[HEALTH, GUARD])

    loop.send("service.measured", WEB, {"rss": 500.0})
    loop.wait("5s")
    loop.send("service.measured", WEB, {"rss": 100.0})
    said = loop.wait("5s")

    assert [type(message).__name__ for message in loop.messages] == [
        "Decision",
        "Verdict",
        "Command",
        "Outcome",
        "Effect",
    ]
    assert loop.effects[0].effect == "effective"
    assert said == loop.effects


def test_time_passes_only_when_the_test_lets_it() -> None:
    loop = Loop(declarations=[HEALTH, GUARD])
    loop.send("service.measured", WEB, {"rss": 500.0})

    assert loop.wait("9999ms") == []
    assert [effect.effect for effect in loop.wait("1ms")] == ["unknown"]


def test_the_row_is_shown_as_agents_see_it() -> None:
    loop = Loop(declarations=[HEALTH, GUARD])
    assert loop.row(WEB, "health") == {}

    loop.send("service.measured", WEB, {"rss": 7.0})

    assert loop.row(WEB, "health") == {"rss": 7.0}


def test_declarations_may_be_files(tmp_path: Path) -> None:
    file = tmp_path / "health.yaml"
    file.write_text(HEALTH)

    loop = Loop(declarations=file)
    loop.send("service.measured", WEB, {"rss": 7.0})

    assert loop.row(WEB, "health") == {"rss": 7.0}


THINKER = """
from control_plane.sdk import SlowAgent

class Thinker(SlowAgent):
    name, version, listens_to, intents = "thinker", "1.0.0", ("service.measured",), ("restart_service",)

    async def decide(self, context):
        return [context.propose("restart_service", because="on reflection")]
"""


def test_a_whole_workspace_may_be_tested_as_it_lies_there(tmp_path: Path) -> None:
    for path, text in {
        "rows/health.yaml": HEALTH,
        "agents/guard.yaml": GUARD.split("---")[0],
        "agents/thinker.py": THINKER,
        "intents/restart.yml": GUARD.split("---")[1],
        "schemas/service.measured.json": '{"type": "object", "required": ["rss"]}',
        "executors/dry_run.yaml": "executor: dry_run\n",
    }.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)

    loop = Loop(declarations=tmp_path)
    loop.send("service.measured", WEB, {"rss": 500.0})

    assert [decision.agent for decision in loop.decisions] == ["memory_guard", "thinker"]
    assert loop.state("memory_guard", WEB) == "firing"
    with pytest.raises(Refused, match="schema_broken"):
        loop.send("service.measured", WEB, {})


def test_intents_that_a_rule_names_need_no_declaration() -> None:
    loop = Loop(declarations=GUARD.split("---")[0].replace("expects", "# expects"))

    loop.send("service.measured", WEB, {"rss": 500.0})

    assert len(loop.commands) == 1
    assert loop.state("memory_guard", WEB) == "firing"


def test_a_guard_refuses_here_as_it_does_in_production() -> None:
    loop = Loop(Restless(), declarations=GUARD)

    loop.send("service.measured", WEB)
    loop.send("service.measured", WEB)

    assert [(verdict.answer, verdict.stage) for verdict in loop.verdicts] == [("allow", "policy"), ("deny", "limits")]


def test_policy_and_executor_are_the_tests_own() -> None:
    denied = Loop(Restless(), policy=deny)
    failing = Loop(Restless(), executor=lambda command: "failed")

    denied.send("service.measured", WEB)
    failing.send("service.measured", WEB)

    assert denied.commands == []
    assert [outcome.status for outcome in failing.outcomes] == ["failed"]


def test_a_limit_on_the_share_of_a_fleet_holds_as_in_production() -> None:
    fleet = "fleet: web\nmembers: subject.kind == 'service'\nhealthy: rows.health.rss < 400.0\n"
    limited = GUARD.replace("cooldown: 30s", "fleet_share_max: 0.2")
    loop = Loop(declarations=[HEALTH, limited, fleet])
    members = [f"service/web-{number}" for number in range(10)]
    for member in members:
        loop.send("subject.registered", member)
        loop.send("service.measured", member, {"rss": 100.0})

    for member in members[:3]:
        loop.send("service.measured", member, {"rss": 500.0})

    assert [command.subject for command in loop.commands] == members[:2]
    assert loop.verdicts[-1].reasons[0].code == "fleet_share"


async def test_a_slow_agent_is_asked_and_its_answer_judged_inside_a_running_loop_too() -> None:
    loop = Loop(Thinker(), declarations=HEALTH)

    loop.send("service.measured", WEB, {"rss": 500.0})

    assert len(loop.contexts) == 1
    assert [decision.because for decision in loop.decisions] == ["on reflection"]
    assert len(loop.commands) == 1


def test_an_agent_that_fails_fails_the_test() -> None:
    with pytest.raises(Refused, match="RuntimeError: out of order"):
        Loop(Restless()).send("service.measured", WEB, {"broken": True})
    with pytest.raises(Refused, match="RuntimeError: out of thoughts"):
        Loop(Thinker()).send("service.measured", WEB, {"broken": True})


def test_an_event_that_would_be_a_dead_letter_fails_the_test() -> None:
    loop = Loop(Restless())

    with pytest.raises(Refused, match="type_unknown"):
        loop.send("service.unheard_of", WEB)
    with pytest.raises(Refused, match="subject_malformed"):
        loop.send("service.measured", "web")


def test_a_declaration_of_something_else_is_named_with_its_place() -> None:
    with pytest.raises(InvalidWorkspace, match="it declares no intent, row, fleet, rule or table"):
        Loop(declarations="executor: dry_run\nkind: dry_run\n")
